-- @use quota
-- @use breaker
-- Lets calls of one model pass: the last look before money is spent.
-- One step looks at whether the job is still its worker's (a cancel, an expiry, a reaper may have
-- come between), at pauses, the batch's budget, the breaker, and takes a request, its tokens and
-- a slot of the shared quota, all or nothing.
-- Race closed: workers that ask at the same moment each see room for one more call; here what is
-- granted is counted in the step that finds the room. Grants are given in the order of the asks,
-- and one that has to wait holds its place, so a long prompt is not starved by short ones.
-- A grant stands on its job: who asks again for the same call gets the same grant, whether it
-- waited for it or never heard of it. A grant whose call may not be made after all is taken back.
--
-- ARGV: model, process, lease_s, retention_s, window_s, spread_s, rpm, tpm, rpd, most slots
--       ('' for no limit), day_reset, probe_s, then per ask: id, token, estimated tokens,
--       estimated cost in nano-dollars, started (1: a call has been made, so its time cannot run
--       out any more).
-- Returns now, then per ask {verdict, ...} up to the first that has to wait:
--   go, ticket, probe (1 or 0) | at, ticket, seconds | full | gone | expired | paused, place |
--   open, until, reason

local model, process, lease_s, retention_s = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local limits = { window = tonumber(ARGV[5]), rpm = tonumber(ARGV[7]), tpm = tonumber(ARGV[8]) }
local spread_s, rpd, most = tonumber(ARGV[6]), tonumber(ARGV[9]), tonumber(ARGV[10])
local day_reset, probe_s = tonumber(ARGV[11]), tonumber(ARGV[12])
local FIELDS, FIRST = 5, 13
--: A grant this near is not worth a wait.
local AT_ONCE_S = 0.005
--: Estimated tokens that a ratio of real to estimated tokens must outweigh.
local PRIOR_TOKENS = 1000
local now = now_s()
local q = load_quota(model, limits)
sweep(q, now)
grow(q, now)
if not q.day_reset or now >= q.day_reset then
  q.day_used, q.day_reset = 0, day_reset > now and day_reset or day_reset + DAY_S
end

local function paused_place(batch, tier)
  if batch ~= '' and redis.call('HEXISTS', batch_key(batch), 'paused') == 1 then
    return 'batch:' .. batch
  end
  local paused = redis.call('HMGET', PAUSED, 'tier:' .. tier, 'model:' .. model)
  return (paused[1] and 'tier:' .. tier) or (paused[2] and 'model:' .. model) or nil
end

-- Whether the batch's budget has room for the call; if not, the batch pauses (drop_hold ends
-- the pause if the calls in flight leave room after all).
local function within_budget(id, batch, cost)
  if batch == '' then return true end
  local b = redis.call('HMGET', batch_key(batch), 'max_cost_nanousd', 'cost_nanousd', 'held_nanousd')
  if not b[1] then return true end
  drop_hold(id, batch)
  local due = tonumber(b[2] or 0) + tonumber(redis.call('HGET', batch_key(batch), 'held_nanousd') or 0)
  if due + cost > tonumber(b[1]) then
    redis.call('HSET', batch_key(batch), 'paused', 'budget', 'short_nanousd', cost)
    return false
  end
  redis.call('HSET', job_key(id), 'held', cost)
  redis.call('HINCRBY', batch_key(batch), 'held_nanousd', cost)
  return true
end

-- Whether there is a slot; if not, the process stands in the line for one.
local function slot_for(id)
  if not most or redis.call('ZSCORE', slots_key(model), id) then return true end
  if redis.call('ZCARD', slots_key(model)) < most then return true end
  redis.call('ZADD', line_key(model), 'NX', now, process)
  redis.call('EXPIRE', line_key(model), 3600)
  return false
end

-- Why the call may not be made; nil if it may. Second value: whether it is the breaker's probe.
local function turned_away(id, token, job, cost, started, ticket)
  local batch, tier = job[2], job[3]
  if job[1] ~= token then return { 'gone' } end
  if job[4] and not job[5] and started ~= '1' and tonumber(job[4]) < now then
    finish(id, batch, 'running', 'expired', tier, now, retention_s)
    return { 'expired' }
  end
  local place = paused_place(batch, tier)
  if place then return { 'paused', place } end
  local shut, probes = shut_until(model, id, now)
  if shut then
    return { 'open', stamp(shut), redis.call('HGET', breaker_key(model), 'reason') or '' }
  end
  if ticket then return nil, probes end
  if not within_budget(id, batch, cost) then return { 'paused', 'batch:' .. batch } end
  if rpd and q.day_used >= rpd then
    open_breaker(model, q.day_reset, 1, 'daily quota', now)
    return { 'open', stamp(q.day_reset), 'daily quota' }
  end
  return nil, probes
end

-- A new grant: its ticket and its time.
local function grant(estimate)
  local tokens = math.ceil(estimate * ((q.real or 0) + PRIOR_TOKENS) / ((q.estimated or 0) + PRIOR_TOKENS))
  local t = room_at(q, math.max(now, q.next, q.blocked or 0), tokens)
  local bucket = take(q, t, tokens, spread_s)
  q.day_used = q.day_used + 1
  return string.format('%d:%d:%d', bucket, tokens, estimate), t
end

-- An earlier grant: its ticket and its time; nil if it does not hold any more.
local function hold_to(id, ticket)
  local bucket, tokens, estimate = read_ticket(ticket)
  local holds = (q.blocked or 0) <= math.max(now, bucket * WIDTH_S) and take_up(q, bucket, tokens, now)
  if not holds then
    void_grant(q, id, ticket)
    return nil
  end
  return string.format('%d:%d:%d', holds, tokens, estimate), holds * WIDTH_S
end

local function answer(id, token, estimate, cost, started)
  local job = redis.call('HMGET', job_key(id), 'lease', 'batch', 'tier', 'deadline', 'attempts', 'grant')
  local ticket, t = grant_of(job[6], token), nil
  local refusal, probes = turned_away(id, token, job, cost, started, ticket)
  if refusal then
    if ticket then void_grant(q, id, ticket) end
    return refusal
  end
  if not slot_for(id) then return { 'full' } end
  if ticket then ticket, t = hold_to(id, ticket) end
  if not ticket then ticket, t = grant(estimate) end
  t = math.max(t, now)
  redis.call('HSET', job_key(id), 'grant', token .. ' ' .. ticket)
  if most then
    redis.call('ZADD', slots_key(model), t + lease_s, id)
    redis.call('EXPIRE', slots_key(model), DAY_S)
  end
  if probes then
    redis.call('HSET', breaker_key(model), 'probe', id, 'probe_until', stamp(t + probe_s))
  end
  if t - now > AT_ONCE_S then return { 'at', ticket, stamp(t - now) } end
  return { 'go', ticket, probes and 1 or 0 }
end

if most then  -- what was handed to this process is taken up now
  hand_over(model, most, now)
  redis.call('ZREM', slots_key(model), 'hand:' .. process)
end
local replies = { stamp(now) }
for i = FIRST, #ARGV, FIELDS do
  local reply = answer(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4])
  replies[#replies + 1] = reply
  if reply[1] == 'at' or reply[1] == 'full' then break end
end
if most then hand_over(model, most, now) end
save_quota(q)
return replies
