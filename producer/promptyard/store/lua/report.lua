-- @use breaker
-- Tells the breaker how calls went; too many failures in the window open it, a probe closes it
-- or keeps it open for twice as long.
-- Race closed: many workers see the failures of one outage at once; the breaker opens once, and
-- only the probe that was let through says how it goes on.
--
-- ARGV: model, calls that went well, calls that failed, window_s, failure_rate, min_calls,
--       open_s, max_open_s, id of the call that was the probe ('' if none).
-- Returns 1 if the breaker is open afterwards, else 0.

local model, good, bad = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local window_s, rate, least = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local open_s, max_open_s, probe = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local SLICES = 6
local key = breaker_key(model)
local now = now_s()
local b = redis.call('HMGET', key, 'open_until', 'opened', 'probe')

if b[1] then
  if probe == '' or b[3] ~= probe then return 1 end
  if bad == 0 then
    redis.call('DEL', key)
    return 0
  end
  local opened = tonumber(b[2] or 1)
  local wait_s = math.min(max_open_s, open_s * 2 ^ math.min(opened, 30))
  open_breaker(model, now + wait_s, opened + 1, redis.call('HGET', key, 'reason') or 'failures', now)
  return 1
end

local slice = math.floor(now / (window_s / SLICES))
redis.call('HINCRBY', key, 'good:' .. slice, good)
redis.call('HINCRBY', key, 'bad:' .. slice, bad)
redis.call('EXPIRE', key, math.ceil(2 * window_s))
local all_good, all_bad = 0, 0
local fields = redis.call('HGETALL', key)
for n = 1, #fields, 2 do
  local kind, at = string.match(fields[n], '^(%a+):(%d+)$')
  if kind and tonumber(at) <= slice - SLICES then
    redis.call('HDEL', key, fields[n])
  elseif kind == 'good' then
    all_good = all_good + tonumber(fields[n + 1])
  elseif kind == 'bad' then
    all_bad = all_bad + tonumber(fields[n + 1])
  end
end
if bad == 0 or all_good + all_bad < least or all_bad / (all_good + all_bad) < rate then return 0 end
redis.call('DEL', key)
open_breaker(model, now + open_s, 1, 'failures', now)
return 1
