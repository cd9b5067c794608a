-- Gives the batch of an identity (a run's content hash), making it if there is none.
-- Race closed: two producers that open the same identity at once get the same batch.
-- A cap on its cost replaces the one it has, unless it is the one that it was opened with last: a
-- run that is started again must not undo the higher cap that it was resumed with.
--
-- ARGV: proposed batch id, identity key ('' for none), fresh (1: make a new one), open_ttl_s,
--       batch index key, most cost in nano-dollars ('' to leave it as it is), version of the
--       producer, then metadata name/value pairs.
-- Returns: batch id, 1 if new else 0.

local proposed, identity, fresh, ttl, index, cap, version = unpack(ARGV, 1, 7)

local function put_cap(batch)
  if cap == '' or redis.call('HGET', batch_key(batch), 'asked_nanousd') == cap then return end
  redis.call('HSET', batch_key(batch), 'max_cost_nanousd', cap, 'asked_nanousd', cap)
  leave_budget_pause(batch)
end

if identity ~= '' and fresh ~= '1' then
  local known = redis.call('GET', identity)
  if known and redis.call('EXISTS', batch_key(known)) == 1 then
    put_cap(known)
    return { known, 0 }
  end
end
local key = batch_key(proposed)
if redis.call('EXISTS', key) == 1 then
  put_cap(proposed)
  return { proposed, 0 }
end
local now = now_s()
redis.call('HSET', key, 'created', stamp(now), 'total', 0, 'finished', 0, 'version', version)
put_cap(proposed)
for i = 8, #ARGV, 2 do redis.call('HSET', key, 'meta:' .. ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', key, ttl)
redis.call('ZADD', index, now, proposed)
-- the index forgets what is older than any record can be
redis.call('ZREMRANGEBYSCORE', index, '-inf', now - 2 * tonumber(ttl))
redis.call('EXPIRE', index, 2 * tonumber(ttl))
if identity ~= '' then redis.call('SET', identity, proposed, 'EX', ttl) end
return { proposed, 1 }
