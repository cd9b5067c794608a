-- Shared by every script: script text = this file + the script's own file.
-- The key names here and in keys.py are the same; tests/unit/test_keys.py compares them.
-- Redis runs a script alone, so what follows a read in one script cannot be overtaken.

local PREFIX = 'promptyard:'
local LEASES = PREFIX .. 'leases'
local FINAL = { succeeded = true, failed = true, blocked = true, cancelled = true, expired = true }

local function job_key(id) return PREFIX .. 'job:' .. id end
local function batch_key(id) return PREFIX .. 'batch:' .. id end
local function batch_jobs_key(id) return PREFIX .. 'batch:' .. id .. ':jobs' end
local function batch_results_key(id) return PREFIX .. 'batch:' .. id .. ':results' end
local function waiting_key(queue, priority) return PREFIX .. 'waiting:' .. queue .. ':' .. priority end
local function done_channel(id) return PREFIX .. 'done:' .. id end

-- Seconds since the epoch by Redis' clock: one clock for all hosts.
local function now_s()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

local function stamp(seconds) return string.format('%.6f', seconds) end

-- A job that waits for a message to be taken stands in the index of its queue, from the step
-- that pushes the message to the one that takes the job; so a lost message leaves a trace.
local function wait(id, queue, priority, since_s)
  redis.call('ZADD', waiting_key(queue, priority), since_s, id)
end
local function stop_waiting(id, state, tier, priority)
  local queue = state == 'accepted' and 'classify' or tier
  redis.call('ZREM', waiting_key(queue, priority), id)
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

-- Ends a job: state, counters, result stream, wake-up and TTL move together, so no reader
-- sees a counted job that is not in the stream, or the reverse.
local function finish(id, batch, from, to, tier, now, retention_s)
  local key = job_key(id)
  if from ~= 'running' then stop_waiting(id, from, tier, redis.call('HGET', key, 'priority')) end
  redis.call('HSET', key, 'state', to, 'finished', stamp(now))
  redis.call('HDEL', key, 'lease')
  redis.call('EXPIRE', key, retention_s)
  redis.call('ZREM', LEASES, id)
  if batch ~= '' then
    local bkey = batch_key(batch)
    move(batch, from, to)
    if tier then redis.call('HINCRBY', bkey, 'tier:' .. tier .. ':finished', 1) end
    redis.call('XADD', batch_results_key(batch), '*', 'id', id)
    local finished = redis.call('HINCRBY', bkey, 'finished', 1)
    local whole = redis.call('HMGET', bkey, 'sealed', 'total')
    if whole[1] and finished >= tonumber(whole[2]) then
      expire_batch(batch, retention_s)
    elseif finished == 1 then
      redis.call('EXPIRE', batch_results_key(batch), redis.call('TTL', bkey))
    end
  end
  redis.call('PUBLISH', done_channel(id), to)
end
