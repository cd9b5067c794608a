-- Puts back a job whose worker has been silent for longer than its lease.
-- Race closed: the holder may renew, record or release between the reaper's look and this
-- script; only a job that is still running on a lease that has run out is touched.
--
-- ARGV: id, attempt, queue key, message. Returns 1, or 0 if there was nothing to do.

local id = ARGV[1]
local key = job_key(id)
local until_s = redis.call('ZSCORE', LEASES, id)
if until_s and tonumber(until_s) > now_s() then return 0 end
local job = redis.call('HMGET', key, 'state', 'batch', 'attempts', 'tier', 'priority')
if job[1] ~= 'running' then
  redis.call('ZREM', LEASES, id)
  return 0
end
redis.call('HSET', key, 'state', 'routed',
  'attempts', (job[3] and job[3] .. ',' or '') .. ARGV[2])
redis.call('HDEL', key, 'lease')
redis.call('ZREM', LEASES, id)
move(job[2], 'running', 'routed')
if job[2] ~= '' then redis.call('HINCRBY', batch_key(job[2]), 'retries', 1) end
redis.call('LPUSH', ARGV[3], ARGV[4])
wait(id, job[4], job[5], now_s())
return 1
