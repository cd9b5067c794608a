-- Writes a chunk of jobs and the messages that announce them.
-- Race closed: a producer that dies between "record written" and "message sent" would leave
-- a job nobody looks for; here both happen or neither. Submitting the same id or idempotency
-- key again (a retry after a lost reply, a second run) writes nothing and says so.
--
-- ARGV: batch ('' for none), open_ttl_s, classify queue key, classify message ('' for none),
--       then per job: id, request, priority, line, idempotency key, tier, model, expires_in_s,
--       queue key, message (the last two only for a job that names its tier).
-- Returns per job: id, 1 if new else 0, line of the record.

local batch, ttl, classify_queue, classify_message = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIELDS = 10
local now = now_s()
local reply, new_ids = {}, {}
local accepted, routed, by_tier = 0, 0, {}

for i = 5, #ARGV, FIELDS do
  local id, request, priority, line, idempotency, tier, model, expires_in, queue, message =
    unpack(ARGV, i, i + FIELDS - 1)
  local known = nil
  if idempotency ~= '' then
    local holder = redis.call('GET', idempotency)
    if holder and redis.call('EXISTS', job_key(holder)) == 1 then known = holder end
  end
  if not known and redis.call('EXISTS', job_key(id)) == 1 then known = id end
  if known then
    reply[#reply + 1] = { known, 0, redis.call('HGET', job_key(known), 'line') or '' }
  else
    local fields = { 'state', 'accepted', 'batch', batch, 'request', request,
                     'priority', priority, 'accepted', stamp(now) }
    local function put(name, value)
      if value ~= '' then fields[#fields + 1] = name; fields[#fields + 1] = value end
    end
    put('line', line)
    put('model', model)
    if expires_in ~= '' then put('deadline', stamp(now + tonumber(expires_in))) end
    if tier ~= '' then
      fields[2] = 'routed'
      put('tier', tier)
      put('routed', stamp(now))
      by_tier[tier] = (by_tier[tier] or 0) + 1
      routed = routed + 1
      redis.call('LPUSH', queue, message)
      wait(id, tier, priority, now)
    else
      accepted = accepted + 1
      wait(id, 'classify', priority, now)
    end
    redis.call('HSET', job_key(id), unpack(fields))
    redis.call('EXPIRE', job_key(id), ttl)
    if idempotency ~= '' then redis.call('SET', idempotency, id, 'EX', ttl) end
    new_ids[#new_ids + 1] = id
    reply[#reply + 1] = { id, 1, line }
  end
end

if accepted > 0 then redis.call('LPUSH', classify_queue, classify_message) end

if batch ~= '' and #new_ids > 0 then
  local key = batch_key(batch)
  redis.call('RPUSH', batch_jobs_key(batch), unpack(new_ids))
  redis.call('HINCRBY', key, 'total', #new_ids)
  if accepted > 0 then redis.call('HINCRBY', key, 'n:accepted', accepted) end
  if routed > 0 then redis.call('HINCRBY', key, 'n:routed', routed) end
  for tier, count in pairs(by_tier) do
    redis.call('HINCRBY', key, 'tier:' .. tier .. ':routed', count)
  end
  expire_batch(batch, ttl)
end
return reply
