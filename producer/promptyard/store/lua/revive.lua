-- Puts failed jobs back on the line, as if they had not been tried.
-- Races closed: two retries at once, or one that is sent again after a lost reply while its jobs
-- fail anew: only a job that still has the very failure that was looked at goes back, once. And a
-- batch that expires meanwhile: its counters would come back without a TTL, so its jobs stay.
-- Result stream, counters and dead letters move in one step: no reader finds a job that is open in
-- the stream, and when it ends anew it gets its one entry.
--
-- ARGV: open_ttl_s, classify queue key, classify message ('' for none), then per job: id, when it
--       failed (as on its record), number of attempts, tier ('' to classify it), model ('' for the
--       tier's), queue key, message (the last two only for a job with a tier).
--       Jobs that are to be classified are of one priority: they travel in the one message.
-- Returns the number put back.

local open_ttl_s, FIELDS = ARGV[1], 7
local now = now_s()
local revived, unrouted, batches = 0, false, {}

local function uncount(batch, entry, from_tier, tier, to)
  local key = batch_key(batch)
  move(batch, 'failed', to)
  redis.call('HINCRBY', key, 'finished', -1)
  redis.call('HINCRBY', key, 'revived', 1)
  if from_tier then redis.call('HINCRBY', key, 'tier:' .. from_tier .. ':finished', -1) end
  if from_tier ~= tier then
    if from_tier then redis.call('HINCRBY', key, 'tier:' .. from_tier .. ':routed', -1) end
    if tier then redis.call('HINCRBY', key, 'tier:' .. tier .. ':routed', 1) end
  end
  if entry then redis.call('XDEL', batch_results_key(batch), entry) end
  batches[batch] = true
end

local function reset(key, attempts, tier, model, to)
  redis.call('HSET', key, 'state', to, 'pardoned', attempts)
  redis.call('HDEL', key, 'answer', 'finished', 'entry', 'lost', 'since', 'deadline', 'model')
  if model ~= '' then redis.call('HSET', key, 'model', model) end
  if tier then
    redis.call('HSET', key, 'tier', tier)
    redis.call('HSETNX', key, 'routed', stamp(now))
  else
    redis.call('HDEL', key, 'tier', 'decision', 'routed')
  end
  redis.call('EXPIRE', key, open_ttl_s)
end

for i = 4, #ARGV, FIELDS do
  local id, failed, attempts, tier, model, queue, message = unpack(ARGV, i, i + FIELDS - 1)
  local key = job_key(id)
  local job = redis.call('HMGET', key, 'state', 'finished', 'batch', 'entry', 'tier', 'priority')
  local batch = job[3]
  if job[1] == 'failed' and job[2] == failed
    and (batch == '' or redis.call('EXISTS', batch_key(batch)) == 1) then
    tier = tier ~= '' and tier or nil
    local to = tier and 'routed' or 'accepted'
    if batch ~= '' then uncount(batch, job[4], job[5] or nil, tier, to) end
    reset(key, attempts, tier, model, to)
    redis.call('ZREM', dead_key(batch), id)
    if tier then redis.call('LPUSH', queue, message) else unrouted = true end
    wait(id, tier or 'classify', job[6], now)
    revived = revived + 1
  end
end

if unrouted then redis.call('LPUSH', ARGV[2], ARGV[3]) end
for batch in pairs(batches) do expire_batch(batch, open_ttl_s) end
return revived
