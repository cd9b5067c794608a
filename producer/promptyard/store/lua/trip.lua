-- @use breaker
-- Opens breakers for a known reason: a key that is refused, a day's quota that is spent.
-- Race closed: many workers learn it at once; the longest wait stands.
--
-- ARGV: until (seconds since the epoch; '' for so many seconds from now), seconds, reason, then
--       models. Returns until when.

local now = now_s()
local until_s = tonumber(ARGV[1]) or now + tonumber(ARGV[2])
for i = 4, #ARGV do
  local b = redis.call('HMGET', breaker_key(ARGV[i]), 'open_until', 'opened')
  if not b[1] or tonumber(b[1]) < until_s then
    open_breaker(ARGV[i], until_s, tonumber(b[2] or 0) + 1, ARGV[3], now)
  end
end
return stamp(until_s)
