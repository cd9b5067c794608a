-- The shared quota of a model: a rolling minute of requests and tokens, and a day of requests.
-- Used by admit, settle and refuse (scripts.py puts it before them).
--
-- What was granted is counted in buckets of a tenth of a second. A bucket counts until a whole
-- minute (ours, longer than Google's by the safety) after its end, so in no minute, wherever it
-- begins, more than the limit is granted. Grants are handed out in the order they are asked for,
-- each no sooner than the one before (`next`), so what has left the window of one grant has left
-- it for all that follow: the sums are kept by dropping buckets from the old end, once each.
-- Sums begin at `tail`, which looks ahead to the last grant; the log begins at `old`, so that what
-- was let in until now can still be counted when the server refuses.
--
-- A grant stands on its job (field `grant`: token and ticket) until it is settled, so whoever asks
-- or settles a second time, because the first reply got lost, changes nothing.
--
-- A file can name a limit that is too high, or none at all. What a 429 shows is kept as a factor
-- on the limit (or as a limit found, where the file has none); it is cut at once, and grows again
-- minute by minute: additive increase, multiplicative decrease (Chiu and Jain, 1989).

--: The same for every length of our minute: another safety in a file read anew forgets nothing
--: and leaves the tickets valid.
local WIDTH_S = 0.1
--: A grant that is taken up this late is still good where it cannot be counted anew.
local LATE_S = 0.5
--: Buckets that are read at once while the sums go down.
local LEAST_CHUNK, MOST_CHUNK = 4, 64
--: Growth of the factor in a minute without a 429.
local GROWTH = 0.02
--: A limit that was found, not given, is forgotten once it has grown to this much of itself.
local FORGET = 2
local DAY_S = 86400

local function quota_key(model) return PREFIX .. 'quota:' .. model end
local function log_key(model) return PREFIX .. 'quota:' .. model .. ':log' end
local function slots_key(model) return PREFIX .. 'quota:' .. model .. ':slots' end
local function line_key(model) return PREFIX .. 'quota:' .. model .. ':line' end
local function wake_key(process) return PREFIX .. 'wake:' .. process end

local NUMBERS = { 'next', 'old', 'tail', 'last', 'req', 'tok', 'blocked', 'streak', 'req_factor',
  'tok_factor', 'req_found', 'tok_found', 'cut', 'cut_of_tokens', 'cut_from', 'cut_admitted',
  'served', 'quiet', 'grown', 'day_used', 'day_reset', 'real', 'estimated' }

-- The state of a model's quota as a table. `limits`: window_s, rpm, tpm (numbers or nil).
local function load_quota(model, limits)
  local found = redis.call('HMGET', quota_key(model), unpack(NUMBERS))
  local q = { model = model, window = limits.window }
  for n, name in ipairs(NUMBERS) do q[name] = tonumber(found[n]) end
  q.next = q.next or 0
  q.old, q.tail, q.last = q.old or 0, q.tail or 0, q.last or -1
  q.req, q.tok = q.req or 0, q.tok or 0
  q.req_factor, q.tok_factor = q.req_factor or 1, q.tok_factor or 1
  q.rpm = limits.rpm or q.req_found
  q.tpm = limits.tpm or q.tok_found
  return q
end

local function save_quota(q)
  local fields = {}
  for _, name in ipairs(NUMBERS) do
    if q[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = string.format('%.17g', q[name])
    end
  end
  redis.call('HSET', quota_key(q.model), unpack(fields))
  redis.call('EXPIRE', quota_key(q.model), 2 * DAY_S)
  redis.call('EXPIRE', log_key(q.model), 2 * DAY_S)  -- never before the sums that speak of it
end

-- The last bucket that no longer counts at time t.
local function gone_at(q, t) return math.floor((t - q.window) / WIDTH_S) - 1 end

-- Takes buckets up to one out of the sums, from the old end, while `wanted` says so. Gives the
-- last that held anything.
local function drop(q, up_to, wanted)
  local log, chunk, dropped = log_key(q.model), LEAST_CHUNK, nil
  while q.tail <= up_to and wanted() do
    local first, stop = q.tail, math.min(q.tail + chunk - 1, up_to)
    local names = {}
    for b = first, stop do names[#names + 1] = 'r' .. b; names[#names + 1] = 't' .. b end
    local counts = redis.call('HMGET', log, unpack(names))
    for b = first, stop do
      if not wanted() then break end
      local n = 2 * (b - first) + 1
      if counts[n] then
        q.req, q.tok = q.req - tonumber(counts[n]), q.tok - tonumber(counts[n + 1])
        dropped = b
      end
      q.tail = b + 1
    end
    chunk = math.min(MOST_CHUNK, 2 * chunk)
  end
  return dropped
end

-- Forgets what no longer counts.
local function sweep(q, now)
  local gone = gone_at(q, now)
  if gone >= q.last then
    redis.call('DEL', log_key(q.model))
    q.old, q.tail, q.req, q.tok = gone + 1, math.max(q.tail, gone + 1), 0, 0
    return
  end
  drop(q, gone, function() return true end)
  for first = q.old, gone, MOST_CHUNK do
    local names = {}
    for b = first, math.min(first + MOST_CHUNK - 1, gone) do
      names[#names + 1] = 'r' .. b; names[#names + 1] = 't' .. b
    end
    redis.call('HDEL', log_key(q.model), unpack(names))
  end
  q.old = math.max(q.old, gone + 1)
end

-- What was let in until now of all that counts; `letter` is r for requests, t for tokens.
local function let_in(q, letter, now)
  local names, sum = {}, 0
  for b = math.max(q.old, gone_at(q, now) + 1), math.floor(now / WIDTH_S) do
    names[#names + 1] = letter .. b
  end
  if not names[1] then return 0 end
  for _, n in ipairs(redis.call('HMGET', log_key(q.model), unpack(names))) do
    sum = sum + (tonumber(n) or 0)
  end
  return sum
end

local function limit_of(given, factor)
  return given and math.max(1, math.floor(given * factor)) or nil
end

-- The first moment, from t on, at which one more request of so many tokens fits. More tokens than
-- a whole minute has fit when nothing else counts.
local function room_at(q, t, tokens)
  local rpm, tpm = limit_of(q.rpm, q.req_factor), limit_of(q.tpm, q.tok_factor)
  local function is_full()
    return (rpm and q.req + 1 > rpm) or (tpm and q.tok > 0 and q.tok + tokens > tpm)
  end
  local bucket = drop(q, q.last, is_full)
  return bucket and math.max(t, (bucket + 1) * WIDTH_S + q.window) or t
end

-- Adds to what a bucket holds. Sums and log move together, so the sums cannot drift.
local function count(q, bucket, requests, tokens)
  if bucket < q.old or bucket > q.last then return end
  redis.call('HINCRBY', log_key(q.model), 'r' .. bucket, requests)
  redis.call('HINCRBY', log_key(q.model), 't' .. bucket, tokens)
  if bucket >= q.tail then q.req, q.tok = q.req + requests, q.tok + tokens end
end

-- Counts a grant at time t. The next one comes a moment later: a minute's allowance is not
-- handed out in less than spread_s, so that it does not arrive as one blow.
local function take(q, t, tokens, spread_s)
  local bucket = math.floor(t / WIDTH_S)
  q.last = math.max(q.last, bucket)
  count(q, bucket, 1, tokens)
  local pause = 0
  if q.rpm then pause = spread_s / limit_of(q.rpm, q.req_factor) end
  if q.tpm then
    pause = math.max(pause, spread_s * math.min(1, tokens / limit_of(q.tpm, q.tok_factor)))
  end
  q.next = t + pause
  return bucket
end

-- Counts a grant where it is taken up, if that is later than it was given for. Gives the bucket;
-- nil if what came behind it was granted on its having left the window by then.
local function take_up(q, bucket, tokens, now)
  local here = math.floor(now / WIDTH_S)
  if here <= bucket then return bucket end
  if bucket < q.tail then
    return now <= (bucket + 1) * WIDTH_S + LATE_S and bucket or nil
  end
  count(q, bucket, -1, -tokens)
  q.last = math.max(q.last, here)
  count(q, here, 1, tokens)
  return here
end

-- A ticket is bucket:tokens:estimate.
local function read_ticket(ticket)
  local bucket, tokens, estimate = string.match(ticket, '^(%d+):(%d+):(%d+)$')
  return tonumber(bucket), tonumber(tokens), tonumber(estimate)
end

-- The ticket that a job holds under a lease; nil if it holds none.
local function grant_of(grant, token)
  local holder, ticket = string.match(grant or '', '^(.*) (%S*)$')
  return holder == token and ticket or nil
end

-- Takes a grant off its job, and its slot back; false if that is done, or it is another's.
local function close_grant(q, id, ticket)
  local grant = redis.call('HGET', job_key(id), 'grant')
  if not grant or string.match(grant, ' (%S*)$') ~= ticket then return false end
  redis.call('HDEL', job_key(id), 'grant')
  redis.call('ZREM', slots_key(q.model), id)
  return true
end

-- Undoes a grant: it counts nowhere. Gives how many were undone.
local function void_grant(q, id, ticket)
  if not close_grant(q, id, ticket) then return 0 end
  local bucket, tokens = read_ticket(ticket)
  count(q, bucket, -1, -tokens)
  q.day_used = math.max(0, (q.day_used or 0) - 1)
  return 1
end

-- Lets the factors grow for minutes that passed without a 429.
local function grow(q, now)
  if not q.cut then return end
  local minutes = math.floor((now - math.max(q.cut, q.grown or 0)) / q.window)
  if minutes < 1 then return end
  q.grown = now
  for _, kind in ipairs({ 'req', 'tok' }) do
    local found, name = q[kind .. '_found'], kind .. '_factor'
    q[name] = q[name] + GROWTH * minutes
    if not found then q[name] = math.min(1, q[name]) end
    if found and q[name] >= FORGET then
      redis.call('HDEL', quota_key(q.model), kind .. '_found')
      q[kind .. '_found'], q[name] = nil, 1
    end
  end
end

-- Hands free slots to processes that wait for one, in the order in which they came. A hand-over
-- that is not taken up (its process died) is void after a few seconds.
local HAND_S = 5
local function hand_over(model, most, now)
  local slots, line = slots_key(model), line_key(model)
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
  local free = most - redis.call('ZCARD', slots)
  while free > 0 do
    local first = redis.call('ZPOPMIN', line)
    if not first[1] then return end
    redis.call('ZADD', slots, now + HAND_S, 'hand:' .. first[1])
    redis.call('EXPIRE', slots, DAY_S)
    redis.call('LPUSH', wake_key(first[1]), model)
    redis.call('EXPIRE', wake_key(first[1]), 60)
    free = free - 1
  end
end
