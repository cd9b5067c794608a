-- Puts back a job whose classify worker has been silent for longer than its lease, with a
-- message of its own; one that has done so to worker after worker ends as poison.
-- Race closed: the holder may renew, route, reject or give back between the caretaker's look and
-- this script; only a job that is still in hand on a lease that has run out is touched.
--
-- ARGV: id, queue key, message, most workers that may be lost, answer (the error of a poisoned
--       job), retention_s. Returns 1 put back, 2 poison, or 0 if there was nothing to do.

local id = ARGV[1]
local key = job_key(id)
local until_s = redis.call('ZSCORE', TAKEN, id)
local now = now_s()
if not until_s or tonumber(until_s) > now then return 0 end
local job = redis.call('HMGET', key, 'state', 'batch', 'priority')
if job[1] ~= 'accepted' then
  redis.call('ZREM', TAKEN, id)  -- its record is gone
  return 0
end
if redis.call('HINCRBY', key, 'lost', 1) >= tonumber(ARGV[4]) then
  redis.call('HSET', key, 'answer', ARGV[5])
  finish(id, job[2], 'accepted', 'failed', nil, now, ARGV[6])
  return 2
end
redis.call('HDEL', key, 'taken')
redis.call('ZREM', TAKEN, id)
redis.call('LPUSH', ARGV[2], ARGV[3])
wait(id, 'classify', job[3], now)
return 1
