-- Gives the batch of an identity (a run's content hash), making it if there is none.
-- Race closed: two producers that open the same identity at once get the same batch.
--
-- ARGV: proposed batch id, identity key ('' for none), fresh (1: make a new one), open_ttl_s,
--       batch index key, then metadata name/value pairs.
-- Returns: batch id, 1 if new else 0.

local proposed, identity, fresh, ttl, index = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if identity ~= '' and fresh ~= '1' then
  local known = redis.call('GET', identity)
  if known and redis.call('EXISTS', batch_key(known)) == 1 then return { known, 0 } end
end
local key = batch_key(proposed)
if redis.call('EXISTS', key) == 1 then return { proposed, 0 } end
local now = now_s()
redis.call('HSET', key, 'created', stamp(now), 'total', 0, 'finished', 0)
for i = 6, #ARGV, 2 do redis.call('HSET', key, 'meta:' .. ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', key, ttl)
redis.call('ZADD', index, now, proposed)
-- the index forgets what is older than any record can be
redis.call('ZREMRANGEBYSCORE', index, '-inf', now - 2 * tonumber(ttl))
redis.call('EXPIRE', index, 2 * tonumber(ttl))
if identity ~= '' then redis.call('SET', identity, proposed, 'EX', ttl) end
return { proposed, 1 }
