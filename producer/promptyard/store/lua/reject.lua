-- Ends a job that classify cannot route (unreadable record, unknown model).
-- Race closed: as in route: only a job still `accepted` is ended, once.
--
-- ARGV: id, answer, retention_s. Returns 1, or 0 if it had moved on.

local job = redis.call('HMGET', job_key(ARGV[1]), 'state', 'batch')
if job[1] ~= 'accepted' then return 0 end
redis.call('HSET', job_key(ARGV[1]), 'answer', ARGV[2])
finish(ARGV[1], job[2], 'accepted', 'failed', nil, now_s(), ARGV[3])
return 1
