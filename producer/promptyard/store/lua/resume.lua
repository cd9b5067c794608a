-- Ends the pause of a batch, a tier or a model; a batch may get another cap on its cost. Its
-- parked jobs are sent on by the caretaker of the workers, which finds them no longer paused.
-- Race closed: bills come in, and calls are refused for the budget, between a look at what a
-- batch has spent and its resuming; here both are one step, so none is resumed that cannot make
-- a single call.
--
-- ARGV: place, most cost in nano-dollars ('' to keep the cap that it has).
-- Returns {verdict}, or {verdict, spent, cap, estimate of the call it paused at} of a batch that
-- has spent its budget; verdict is resumed | running (it was not paused) | spent | gone.

local place, cap = ARGV[1], ARGV[2]
local kind, name = string.match(place, '^(%a+):(.*)$')
if kind ~= 'batch' then
  return { redis.call('HDEL', PAUSED, place) == 1 and 'resumed' or 'running' }
end
local key = batch_key(name)
if redis.call('EXISTS', key) == 0 then return { 'gone' } end
local b = redis.call('HMGET', key, 'paused', 'max_cost_nanousd', 'cost_nanousd', 'short_nanousd')
local spent, short = tonumber(b[3] or 0), tonumber(b[4] or 0)
local most = cap ~= '' and cap or b[2]
if (cap ~= '' or b[1] == 'budget') and tonumber(most) < spent + math.max(short, 1) then
  return { 'spent', b[3] or '0', most, b[4] or '0' }
end
if cap ~= '' then redis.call('HSET', key, 'max_cost_nanousd', cap) end
redis.call('HDEL', key, 'paused', 'short_nanousd')
return { b[1] and 'resumed' or 'running' }
