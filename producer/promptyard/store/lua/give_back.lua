-- Gives back jobs that a classify worker has in hand and cannot route now: nothing was lost.
-- Race closed: the lease may have run out, and another worker have taken the job; only who has
-- it in hand gives it back. Those that were routed before the trouble came are left alone.
-- Where the message is the caller's own (a Celery retry) it is due after the delay; else it is
-- pushed here, with the move.
--
-- ARGV: token, delay_s, queue key, message ('' if the caller's), then ids.
-- Returns the number given back.

local token = ARGV[1]
local since_s = now_s() + tonumber(ARGV[2])
local given = 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local job = redis.call('HMGET', job_key(id), 'state', 'priority', 'taken')
  if job[1] == 'accepted' and job[3] == token then
    redis.call('HDEL', job_key(id), 'taken')
    redis.call('ZREM', TAKEN, id)
    wait(id, 'classify', job[2], since_s)
    given = given + 1
  end
end
if given > 0 and ARGV[4] ~= '' then redis.call('LPUSH', ARGV[3], ARGV[4]) end
return given
