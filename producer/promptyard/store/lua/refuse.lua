-- @use quota
-- The server refused a call with a 429 of a minute's quota, or without naming any: every worker
-- of the model waits, and where the server shows that the limit is lower than we think, the rate
-- goes down to what it let in.
-- Race closed: many calls in flight are refused for one and the same excess. Only a call that was
-- granted after it was first told says something new; the others say that still less was let in.
--
-- ARGV: model, window_s, rpm, tpm ('' for none), kind (rpm | tpm | unnamed), ticket of the
--       refused call, seconds the server asked to wait ('' if it did not say), a random number
--       from 0 to 1. Returns until when all wait.

local q = load_quota(ARGV[1], { window = tonumber(ARGV[2]), rpm = tonumber(ARGV[3]), tpm = tonumber(ARGV[4]) })
local kind, ticket, asked, random = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
--: Waits where the server names none: they double while nothing gets through, drawn at random.
local FIRST_S, MOST_S = 1, 60
--: So many answers since the last refusal show that the model has room: it was not about us all.
local SERVED = 5
--: Refused again so often with next to no answers between: the limit is wrong, however little was
--: let in (others may use the same quota).
local STUBBORN = 3
--: A server that lets in this share of the limit is near its own limit; with less, it refuses for
--: another reason, or for others' sake.
local NEAR = 0.5
--: One cut never takes more, and always takes a little.
local MOST_CUT, LEAST_CUT, LEAST_FACTOR = 0.5, 0.98, 0.02
--: The cut for a refusal that names no quota: the model is short of capacity.
local BLIND_CUT = 0.8
--: A minute that is full has its next room later than this; a server that asks for less refuses for
--: the moment.
local FULL_S = 1
--: A limit is found from so many calls or tokens in a minute at least.
local LEAST_FOUND = { req = 30, tok = 30000 }
local now = now_s()

local bucket, tokens = read_ticket(ticket)
local name, limit, size = 'req', tonumber(ARGV[3]), 1
if kind == 'tpm' then name, limit, size = 'tok', tonumber(ARGV[4]), tokens or 0 end
local factor, found, of_tokens = name .. '_factor', name .. '_found', name == 'tok' and 1 or 0

local function cut(given, admitted)
  -- one call in twenty refused at random is a run of three now and then; on average many get
  -- through between two refusals, and then it is not about our rate
  local stubborn = q.streak >= STUBBORN and (kind ~= 'unnamed' or q.quiet < SERVED)
  if not given then
    local is_full = kind ~= 'unnamed' and (asked or 0) >= FULL_S and admitted >= LEAST_FOUND[name]
    if is_full or stubborn then
      q[found], q[factor] = math.max(admitted, LEAST_FOUND[name]), 1
    end
    return
  end
  local shown = admitted / given
  if kind == 'unnamed' then shown = q.cut_from * BLIND_CUT end
  if stubborn or (kind ~= 'unnamed' and shown >= NEAR * q.cut_from) then
    local least = math.max(q.cut_from * MOST_CUT, LEAST_FACTOR)
    q[factor] = math.max(least, math.min(q.cut_from * LEAST_CUT, shown))
  end
end

if (bucket or 0) * WIDTH_S >= (q.cut or 0) then
  q.quiet = q.quiet and 0.8 * q.quiet + 0.2 * (q.served or 0) or q.served or 0
  q.streak = (q.served or 0) >= SERVED and 1 or (q.streak or 0) + 1
  q.served, q.cut = 0, now
  q.cut_of_tokens, q.cut_from, q.cut_admitted = of_tokens, q[factor], let_in(q, name:sub(1, 1), now)
end
if q.cut_of_tokens == of_tokens then
  q.cut_admitted = q.cut_admitted - size
  cut(limit or q[found], q.cut_admitted)
end
local doubled = FIRST_S * 2 ^ math.min((q.streak or 1) - 1, 10)
local wait_s = asked or math.min(MOST_S, doubled) * (0.5 + random / 2)
q.blocked = math.max(q.blocked or 0, now + wait_s)
save_quota(q)
return stamp(q.blocked)
