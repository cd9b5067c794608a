-- Takes a chunk of jobs into a classify worker's hands, under a lease.
-- Races closed: two messages of the same job (redelivery, resend); only one worker has it in
-- hand. And a worker that dies with the chunk: the step that gives the jobs out notes who has
-- them, so that a job whose worker was lost can be told from one whose message was.
-- A job in whose hands a worker died is given only to who has no other, so that it takes nobody
-- along again. As with claims, a lease that has run out is not taken over here: its holder may
-- live, so only the caretaker, which waits for it, puts such a job back (recover.lua).
--
-- ARGV: token, lease_s, alone (1: the worker has nothing else in hand), then ids.
-- Returns per job: 0 leave it | 1 taken | 2 take it alone, then the request ('' if not taken).

local token, alone = ARGV[1], ARGV[3] == '1'
local until_s = now_s() + tonumber(ARGV[2])
local LEAVE, YOURS, ALONE = 0, 1, 2

local function take(id)
  local key = job_key(id)
  local job = redis.call('HMGET', key, 'state', 'priority', 'taken', 'lost')
  if job[1] ~= 'accepted' then return LEAVE, '' end
  local others = job[3] and job[3] ~= token and redis.call('ZSCORE', TAKEN, id)
  if others then return LEAVE, '' end
  if job[4] and not alone then return ALONE, '' end
  redis.call('ZREM', waiting_key('classify', job[2]), id)
  redis.call('ZADD', TAKEN, until_s, id)
  redis.call('HSET', key, 'taken', token)
  return YOURS, redis.call('HGET', key, 'request') or ''
end

local reply = {}
for i = 4, #ARGV do
  reply[#reply + 1], reply[#reply + 2] = take(ARGV[i])
end
return reply
