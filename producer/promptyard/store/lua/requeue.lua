-- Puts back a job whose worker has been silent for longer than its lease; one that has done so
-- to worker after worker ends as poison.
-- Race closed: the holder may renew, record or release between the reaper's look and this
-- script; only a job that is still running on a lease that has run out is touched.
--
-- ARGV: id, attempt, queue key, message, most workers that may be lost, answer (the error of a
--       poisoned job), retention_s. Returns 1 put back, 2 poison, or 0 if there was nothing to do.

local id = ARGV[1]
local key = job_key(id)
local until_s = redis.call('ZSCORE', LEASES, id)
local now = now_s()
if until_s and tonumber(until_s) > now then return 0 end
local job = redis.call('HMGET', key, 'state', 'batch', 'tier', 'priority', 'lease')
if job[1] ~= 'running' then
  redis.call('ZREM', LEASES, id)
  return 0
end
local batch = job[2]
append_attempts(id, ARGV[2])
if job[5] then fence(id, job[5]) end  -- it may have been cut off, and come back
if redis.call('HINCRBY', key, 'lost', 1) >= tonumber(ARGV[5]) then
  redis.call('HSET', key, 'answer', ARGV[6])
  finish(id, batch, 'running', 'failed', job[3], now, ARGV[7])
  return 2
end
let_go(id, batch)
if batch ~= '' then redis.call('HINCRBY', batch_key(batch), 'retries', 1) end
redis.call('LPUSH', ARGV[3], ARGV[4])
wait(id, job[3], job[4], now)
return 1
