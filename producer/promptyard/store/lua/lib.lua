-- Shared by every script: script text = this file + the script's own file.
-- The key names here and in keys.py are the same; tests/unit/test_keys.py compares them.
-- Redis runs a script alone, so what follows a read in one script cannot be overtaken.

local PREFIX = 'promptyard:'
local LEASES = PREFIX .. 'leases'
local TAKEN = PREFIX .. 'taken'
local FINAL = { succeeded = true, failed = true, blocked = true, cancelled = true, expired = true }

local function job_key(id) return PREFIX .. 'job:' .. id end
local function batch_key(id) return PREFIX .. 'batch:' .. id end
local function batch_jobs_key(id) return PREFIX .. 'batch:' .. id .. ':jobs' end
local function batch_results_key(id) return PREFIX .. 'batch:' .. id .. ':results' end
local function waiting_key(queue, priority) return PREFIX .. 'waiting:' .. queue .. ':' .. priority end
local function done_channel(id) return PREFIX .. 'done:' .. id end
local function parked_key(place) return PREFIX .. 'parked:' .. place end
local function dead_key(batch) return PREFIX .. 'dead:' .. batch end

-- Seconds since the epoch by Redis' clock: one clock for all hosts.
local function now_s()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

local function stamp(seconds) return string.format('%.6f', seconds) end

-- A job that waits for a message to be taken stands in the index of its queue, from the step
-- that pushes the message to the one that takes the job; so a lost message leaves a trace.
-- One that a classify worker has in hand stands in TAKEN instead (take.lua).
local function wait(id, queue, priority, since_s)
  redis.call('ZADD', waiting_key(queue, priority), since_s, id)
end
local function stop_waiting(id, state, tier, priority)
  local queue = state == 'accepted' and 'classify' or tier
  redis.call('ZREM', waiting_key(queue, priority), id)
  if state == 'accepted' then
    redis.call('ZREM', TAKEN, id)
    redis.call('HDEL', job_key(id), 'taken', 'lost')
  end
end

local function move(batch, from, to)
  if batch == '' then return end
  redis.call('HINCRBY', batch_key(batch), 'n:' .. from, -1)
  redis.call('HINCRBY', batch_key(batch), 'n:' .. to, 1)
end

local function expire_batch(batch, ttl_s)
  redis.call('EXPIRE', batch_key(batch), ttl_s)
  redis.call('EXPIRE', batch_jobs_key(batch), ttl_s)
  redis.call('EXPIRE', batch_results_key(batch), ttl_s)
end

-- A job that waits for longer than a message may (an open breaker, a pause, a day's quota)
-- stands in the sorted set of what it waits for, and has no message at all.
local PARKED = PREFIX .. 'parked'
-- Paused tiers and models; the pause of a batch is a field of its own hash: user or budget.
local PAUSED = PREFIX .. 'paused'
local function park(id, place, now)
  redis.call('HSET', job_key(id), 'parked', place)
  redis.call('ZADD', parked_key(place), now, id)
  redis.call('SADD', PARKED, place)
end
local function unpark(id, place)
  redis.call('ZREM', parked_key(place), id)
  redis.call('HDEL', job_key(id), 'parked')
  if redis.call('EXISTS', parked_key(place)) == 0 then redis.call('SREM', PARKED, place) end
end

-- Ends the pause of a batch whose budget has room again for the call that it paused at.
local function leave_budget_pause(batch)
  local b = redis.call('HMGET', batch_key(batch), 'paused', 'max_cost_nanousd', 'cost_nanousd',
    'short_nanousd')
  if b[1] == 'budget' and tonumber(b[3] or 0) + tonumber(b[4]) <= tonumber(b[2]) then
    redis.call('HDEL', batch_key(batch), 'paused', 'short_nanousd')
  end
end

-- What a call may cost is held against its batch's budget until the call is over. Its bill must
-- have been counted by then: if the calls in flight cost less than was held, the batch goes on.
local function drop_hold(id, batch)
  local held = redis.call('HGET', job_key(id), 'held')
  if not held then return end
  redis.call('HDEL', job_key(id), 'held')
  if batch == '' or redis.call('EXISTS', batch_key(batch)) == 0 then return end
  local left = redis.call('HINCRBY', batch_key(batch), 'held_nanousd', -tonumber(held))
  if left <= 0 then leave_budget_pause(batch) end
end

local function append_attempts(id, attempts)
  if attempts == '' then return end
  local before = redis.call('HGET', job_key(id), 'attempts')
  redis.call('HSET', job_key(id), 'attempts', (before and before .. ',' or '') .. attempts)
end

-- What calls were billed: cost in nano-dollars; prompt, output, thinking, cached tokens.
local BILL = { 'cost_nanousd', 'prompt_tokens', 'output_tokens', 'thinking_tokens', 'cached_tokens' }
local function charge(batch, bill)
  if batch == '' then return end
  for n, name in ipairs(BILL) do
    if bill[n] ~= '0' then redis.call('HINCRBY', batch_key(batch), name, bill[n]) end
  end
end

-- A job was taken out of a worker's hands with its call in flight, which is paid all the same:
-- its token stays known, so that the bill is counted if the worker comes back with it, once.
local function fence(id, token) redis.call('HSET', job_key(id), 'fenced:' .. token, 1) end
local function charge_fenced(id, batch, token, attempts, bill)
  if redis.call('HDEL', job_key(id), 'fenced:' .. token) == 0 then return end
  append_attempts(id, attempts)
  charge(batch, bill)
end

-- Takes a running job out of its worker's hands.
local function let_go(id, batch)
  redis.call('HSET', job_key(id), 'state', 'routed')
  redis.call('HDEL', job_key(id), 'lease')
  redis.call('ZREM', LEASES, id)
  drop_hold(id, batch)
  move(batch, 'running', 'routed')
end

-- Ends a job but for its batch's counters, which move in the same script (count_ended), so no
-- reader sees a counted job that is not in the stream, or the reverse.
local function end_job(id, batch, from, to, tier, now, retention_s)
  local key = job_key(id)
  local fields = { 'state', to, 'finished', stamp(now) }
  if batch ~= '' then
    fields[5], fields[6] = 'entry', redis.call('XADD', batch_results_key(batch), '*', 'id', id)
  end
  if from == 'running' then
    redis.call('HDEL', key, 'lease')
    redis.call('ZREM', LEASES, id)
    drop_hold(id, batch)
  else
    local place = redis.call('HMGET', key, 'priority', 'parked')
    stop_waiting(id, from, tier, place[1])
    if place[2] then unpark(id, place[2]) end
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('EXPIRE', key, retention_s)
  if to == 'failed' then
    redis.call('ZADD', dead_key(batch), now, id)
    redis.call('ZREMRANGEBYSCORE', dead_key(batch), '-inf', now - retention_s)
    redis.call('EXPIRE', dead_key(batch), retention_s)
  end
  redis.call('PUBLISH', done_channel(id), to)
end

-- Counts jobs of one batch, state and tier that a script has ended; the last one of a batch
-- starts its retention.
local function count_ended(batch, from, to, tier, number, retention_s)
  if batch == '' then return end
  local key = batch_key(batch)
  redis.call('HINCRBY', key, 'n:' .. from, -number)
  redis.call('HINCRBY', key, 'n:' .. to, number)
  if tier then redis.call('HINCRBY', key, 'tier:' .. tier .. ':finished', number) end
  local finished = redis.call('HINCRBY', key, 'finished', number)
  local whole = redis.call('HMGET', key, 'sealed', 'total')
  if whole[1] and finished >= tonumber(whole[2]) then
    expire_batch(batch, retention_s)
  elseif finished == number then
    redis.call('EXPIRE', batch_results_key(batch), redis.call('TTL', key))
  end
end

local function finish(id, batch, from, to, tier, now, retention_s)
  end_job(id, batch, from, to, tier, now, retention_s)
  count_ended(batch, from, to, tier, 1, retention_s)
end
