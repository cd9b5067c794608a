-- Dispatches a classified chunk: decision, counters and the generate message of each job.
-- Race closed: a classify message delivered twice, or a cancel that came while the chunk was
-- being embedded; only a job still `accepted` is routed, and exactly one message goes out.
--
-- ARGV: per job: id, tier, model, decision, queue key, message. Returns the number routed.

local FIELDS = 6
local now = now_s()
local routed = 0
for i = 1, #ARGV, FIELDS do
  local id, tier, model, decision, queue, message = unpack(ARGV, i, i + FIELDS - 1)
  local key = job_key(id)
  local job = redis.call('HMGET', key, 'state', 'batch', 'priority')
  if job[1] == 'accepted' then
    redis.call('HSET', key, 'state', 'routed', 'tier', tier, 'model', model,
      'decision', decision, 'routed', stamp(now))
    move(job[2], 'accepted', 'routed')
    if job[2] ~= '' then
      redis.call('HINCRBY', batch_key(job[2]), 'tier:' .. tier .. ':routed', 1)
    end
    redis.call('LPUSH', queue, message)
    stop_waiting(id, 'accepted', nil, job[3])
    wait(id, tier, job[3], now)
    routed = routed + 1
  end
end
return routed
