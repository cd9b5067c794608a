-- Cancels jobs that have not ended.
-- Race closed: a worker may claim or record at the same moment; whichever script runs first
-- decides. A job cancelled while its call is in flight is fenced: its answer is not recorded.
--
-- ARGV: retention_s, then ids. Returns the number cancelled.

local now = now_s()
local cancelled = 0
for i = 2, #ARGV do
  local job = redis.call('HMGET', job_key(ARGV[i]), 'state', 'batch', 'tier')
  if job[1] and not FINAL[job[1]] then
    finish(ARGV[i], job[2], job[1], 'cancelled', job[3] or nil, now, ARGV[1])
    cancelled = cancelled + 1
  end
end
return cancelled
