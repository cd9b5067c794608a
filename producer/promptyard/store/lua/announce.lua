-- Sends again a message that is lost, for the jobs that wait for it.
-- Race closed: several workers look for lost messages, and the jobs may move meanwhile; only
-- jobs that still wait since before the cutoff count, and waiting begins anew with the message,
-- so one of the workers sends it.
--
-- ARGV: queue, priority, cutoff_s, queue key, message, then ids. Returns how many still waited.

local key = waiting_key(ARGV[1], ARGV[2])
local cutoff = tonumber(ARGV[3])
local overdue = {}
for i = 6, #ARGV do
  local since = redis.call('ZSCORE', key, ARGV[i])
  if since and redis.call('EXISTS', job_key(ARGV[i])) == 0 then
    redis.call('ZREM', key, ARGV[i])
  elseif since and tonumber(since) < cutoff then
    overdue[#overdue + 1] = ARGV[i]
  end
end
if #overdue > 0 then
  redis.call('LPUSH', ARGV[4], ARGV[5])
  local now = now_s()
  for _, id in ipairs(overdue) do redis.call('ZADD', key, now, id) end
end
return #overdue
