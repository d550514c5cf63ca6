"""The Lua scripts of `RedisConversations`.

KEYS of each: a conversation's meta (hash: body, owner, title, update_us, sort_key, fence, bytes), events
(list of JSON) and keys (set of event keys). ARGV[1] of each: time to live in ms. The first element of each
answer is the status: OK, NOT_FOUND, TAKEN_OVER, FULL or EXISTS. Each may run twice with the same effect as
once; only the second DELETE answers NOT_FOUND.
"""

_COMMON = """
local function extend_life()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
end

local function is_owned(owner)
  return redis.call('HGET', KEYS[1], 'owner') == owner
end

-- Appends those of the (key, body) pairs from ARGV[first] on that are new; false and nothing without room.
local function keep(first, max_count, max_bytes, update_us)
  local fresh, bytes = {}, 0
  for i = first, #ARGV, 2 do
    if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then
      fresh[#fresh + 1] = i
      bytes = bytes + #ARGV[i + 1]
    end
  end
  if #fresh > 0 then
    local held = tonumber(redis.call('HGET', KEYS[1], 'bytes'))
    local count = redis.call('LLEN', KEYS[2])
    if count + #fresh > tonumber(max_count) or held + bytes > tonumber(max_bytes) then return false end
    for _, i in ipairs(fresh) do
      -- A pair given twice in one call counts once.
      if redis.call('SADD', KEYS[3], ARGV[i]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[i + 1]) end
    end
    redis.call('HINCRBY', KEYS[1], 'bytes', bytes)
  end
  redis.call('HSET', KEYS[1], 'update_us', update_us)
  extend_life()
  return true
end

-- The events as one text of lines: to parse thousands of answers would keep the client's event loop busy.
local function stored()
  local head = redis.call('HMGET', KEYS[1], 'body', 'title', 'update_us')
  return head[1], head[2], head[3], table.concat(redis.call('LRANGE', KEYS[2], 0, -1), '\\n')
end
"""

# ARGV: time to live, body, owner, title, update_us, sort_key
CREATE = (
    _COMMON
    + """
local head = redis.call('HMGET', KEYS[1], 'body', 'fence')
if head[1] then
  if head[1] == ARGV[2] and head[2] == '1' then return {'OK'} end
  return {'EXISTS'}
end
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'owner', ARGV[3], 'title', ARGV[4], 'update_us', ARGV[5],
  'sort_key', ARGV[6], 'fence', '1', 'bytes', '0')
extend_life()
return {'OK'}
"""
)

# ARGV: time to live, owner, wall clock in ms. Answer: fence, sort_key, body, title, update_us, events
OPEN = (
    _COMMON
    + """
if not is_owned(ARGV[2]) then return {'NOT_FOUND'} end
local fence = math.max(tonumber(redis.call('HGET', KEYS[1], 'fence')) + 1, tonumber(ARGV[3]))
local printed = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], 'fence', printed)
extend_life()
return {'OK', printed, redis.call('HGET', KEYS[1], 'sort_key'), stored()}
"""
)

# ARGV: time to live, owner. Answer: body, title, update_us, events
READ = (
    _COMMON
    + """
if not is_owned(ARGV[2]) then return {'NOT_FOUND'} end
return {'OK', stored()}
"""
)

# ARGV: time to live, fence or 'late', most events, most bytes, update_us, then key and body of each event
APPEND = (
    _COMMON
    + """
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then return {'NOT_FOUND'} end
if ARGV[2] ~= 'late' then
  if tonumber(ARGV[2]) < tonumber(fence) then return {'TAKEN_OVER'} end
  if tonumber(ARGV[2]) > tonumber(fence) then redis.call('HSET', KEYS[1], 'fence', ARGV[2]) end
end
if not keep(6, ARGV[3], ARGV[4], ARGV[5]) then return {'FULL'} end
return {'OK'}
"""
)

# ARGV: time to live, owner, title, most events, most bytes, update_us, key, body. Answer: body, update_us
RENAME = (
    _COMMON
    + """
if not is_owned(ARGV[2]) then return {'NOT_FOUND'} end
redis.call('HSET', KEYS[1], 'title', ARGV[3])
-- The title counts in any case; a full log goes without the event.
keep(7, ARGV[4], ARGV[5], ARGV[6])
local head = redis.call('HMGET', KEYS[1], 'body', 'update_us')
return {'OK', head[1], head[2]}
"""
)

# ARGV: time to live, owner. Answer: sort_key
DELETE = (
    _COMMON
    + """
if not is_owned(ARGV[2]) then return {'NOT_FOUND'} end
local sort_key = redis.call('HGET', KEYS[1], 'sort_key')
redis.call('DEL', unpack(KEYS))
return {'OK', sort_key}
"""
)
