-- One more under a limit, by the generic cell rate algorithm (ITU-T I.371), on the server's own clock.
-- KEYS[1]  the subject's theoretical arrival time, microseconds since the epoch
-- ARGV[1]  the emission interval, microseconds
-- ARGV[2]  the burst
-- Answers how many microseconds to wait; 0: allowed, and counted.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local arrival = tonumber(redis.call('GET', KEYS[1]) or now)
if arrival < now then
    arrival = now
end
-- Further ahead than the burst reaches it cannot be: the server's clock has stepped back.
if arrival > now + interval * tonumber(ARGV[2]) then
    arrival = now + interval * tonumber(ARGV[2])
end
local next = arrival + interval
local wait = next - interval * tonumber(ARGV[2]) - now
if wait > 0 then
    return wait
end
-- Lua would write a number this large in scientific notation.
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return 0
