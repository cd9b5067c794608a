-- Sends parked jobs on.
-- Race closed: several workers may look after parked jobs, and a cancel may come between the look
-- and this; only a job that is still parked in that place gets a message, once.
--
-- ARGV: place, then per job: id, tier, priority, queue key, message. Returns how many went on.

local place = ARGV[1]
local now = now_s()
local sent = 0
for i = 2, #ARGV, 5 do
  local id, tier, priority, queue, message = unpack(ARGV, i, i + 4)
  local job = redis.call('HMGET', job_key(id), 'state', 'parked')
  if job[1] == 'routed' and job[2] == place then
    unpark(id, place)
    redis.call('LPUSH', queue, message)
    wait(id, tier, priority, now)
    sent = sent + 1
  else
    redis.call('ZREM', parked_key(place), id)  -- its record is gone, or it has moved on
  end
end
if redis.call('EXISTS', parked_key(place)) == 0 then redis.call('SREM', PARKED, place) end
return sent
