-- Says that every job of a batch is in.
-- Race closed: the last job may end before or after the seal; whichever comes last starts
-- the batch's retention, since both look at the same counters inside a script.
--
-- ARGV: batch, retention_s. Returns 1, or 0 if there is no such batch.

local key = batch_key(ARGV[1])
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'sealed', 1)
local counts = redis.call('HMGET', key, 'finished', 'total')
if tonumber(counts[1] or 0) >= tonumber(counts[2] or 0) then expire_batch(ARGV[1], ARGV[2]) end
return 1
