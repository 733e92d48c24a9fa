-- Takes one back that gcra.lua counted.
-- KEYS[1]  the subject's theoretical arrival time, microseconds since the epoch
-- ARGV[1]  the emission interval, microseconds
local arrival = redis.call('GET', KEYS[1])
if arrival then
    redis.call('SET', KEYS[1], string.format('%.0f', arrival - ARGV[1]), 'KEEPTTL')
end
return 0
