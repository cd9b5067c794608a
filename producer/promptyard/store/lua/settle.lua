-- @use quota
-- Ends a grant: the real tokens take the place of the estimate, the slot goes to who waits next.
-- Race closed: two calls that end at the same moment; each corrects its own bucket.
-- A grant that was not used, or that the server refused with a 429, counts nowhere.
-- A grant that is settled already (the first reply got lost), or whose job another worker has
-- taken over since, is left alone.
--
-- ARGV: model, window_s, rpm, tpm, most slots ('' for no limit), then per grant:
--       id, ticket, real tokens ('' if nobody said; 'void' if it counts nowhere).
-- Returns the number settled.

local model, most = ARGV[1], tonumber(ARGV[5])
local q = load_quota(model, { window = tonumber(ARGV[2]), rpm = tonumber(ARGV[3]), tpm = tonumber(ARGV[4]) })
--: The ratio of real to estimated tokens looks back over about this many estimated tokens.
local MEMORY_TOKENS = 1e6
local settled = 0
for i = 6, #ARGV, 3 do
  local id, ticket, real = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if real == 'void' then
    settled = settled + void_grant(q, id, ticket)
  elseif close_grant(q, id, ticket) then
    local bucket, counted, estimate = read_ticket(ticket)
    if real ~= '' then
      count(q, bucket, 0, tonumber(real) - counted)
      q.real, q.estimated = (q.real or 0) + tonumber(real), (q.estimated or 0) + estimate
      if q.estimated > MEMORY_TOKENS then q.real, q.estimated = q.real / 2, q.estimated / 2 end
    end
    q.served = (q.served or 0) + 1
    settled = settled + 1
  end
end
if most then hand_over(model, most, now_s()) end
save_quota(q)
return settled
