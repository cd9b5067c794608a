-- Takes the lease of a job for one worker.
-- Race closed: two workers that hold a message of the same job (redelivery, resend, fallback);
-- only one gets the lease, the other learns why not. A lease that has run out is not taken
-- over here: after an outage of Redis all have, and their living holders come back with paid
-- answers. Only the reaper, which waits for them, puts such a job back (requeue.lua).
-- A message of a parked job is one too many: what parked it will send it on.
--
-- ARGV: id, token, lease_s, retention_s.
-- Returns {verdict} or {'run', request, tier, model, decision, attempts, pardoned, since,
-- batch, accepted, routed}, where
-- verdict is gone | ended | leased | waiting (not routed yet) | parked | expired.

local id, token, lease_s, retention_s = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local key = job_key(id)
local job = redis.call('HMGET', key, 'state', 'batch', 'tier', 'deadline', 'attempts', 'parked', 'lease')
local state, batch, tier = job[1], job[2], job[3]
if not state then return { 'gone' } end
if FINAL[state] then return { 'ended' } end
if state == 'accepted' then return { 'waiting' } end
if job[6] then return { 'parked' } end
local now = now_s()
-- who sends the claim again, because the reply got lost, holds the lease already
if state == 'running' and job[7] ~= token and redis.call('ZSCORE', LEASES, id) then
  return { 'leased' }
end
if job[4] and not job[5] and tonumber(job[4]) < now then
  finish(id, batch, state, 'expired', tier, now, retention_s)
  return { 'expired' }
end
redis.call('ZADD', LEASES, now + lease_s, id)
redis.call('HSET', key, 'state', 'running', 'lease', token, 'claimed', stamp(now))
local body = redis.call('HMGET', key, 'request', 'tier', 'model', 'decision', 'attempts', 'pardoned',
  'since', 'priority', 'batch', 'accepted', 'routed')
if state ~= 'running' then
  move(batch, state, 'running')
  stop_waiting(id, state, tier, body[8])
end
return { 'run', body[1], body[2], body[3] or '', body[4] or '', body[5] or '', body[6] or '',
  body[7] or '', body[9], body[10], body[11] or '' }
