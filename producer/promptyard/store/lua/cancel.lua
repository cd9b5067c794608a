-- Cancels jobs that have not ended.
-- Race closed: a worker may claim or record at the same moment; whichever script runs first
-- decides. A job cancelled while its call is in flight is fenced: its answer is not recorded,
-- but the token stays known, so that the bill of that call is counted when it comes.
-- Counters move once for all jobs of one batch, state and tier: batches are long.
--
-- ARGV: retention_s, keep_running (1: calls in flight end as they will), then ids.
-- Returns the number cancelled.

local retention_s = ARGV[1]
local now = now_s()
local cancelled, groups = 0, {}
for i = 3, #ARGV do
  local key = job_key(ARGV[i])
  local job = redis.call('HMGET', key, 'state', 'batch', 'tier', 'lease')
  local state, batch, tier = job[1], job[2], job[3] or nil
  if state and not FINAL[state] and not (state == 'running' and ARGV[2] == '1') then
    if job[4] then fence(ARGV[i], job[4]) end
    end_job(ARGV[i], batch, state, 'cancelled', tier, now, retention_s)
    local name = table.concat({ batch, state, tier or '' }, ' ')
    local group = groups[name] or { batch = batch, state = state, tier = tier, number = 0 }
    group.number = group.number + 1
    groups[name] = group
    cancelled = cancelled + 1
  end
end
for _, group in pairs(groups) do
  count_ended(group.batch, group.state, 'cancelled', group.tier, group.number, retention_s)
end
return cancelled
