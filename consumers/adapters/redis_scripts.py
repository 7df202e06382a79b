"""What the adapter has done in one step in Redis, as Lua. Every script takes the prefix as its only key.

A script is never interrupted and what it writes is written down as one, but an error in its midst does not undo what
came before: so each looks at everything first, and writes then. Who calls them: redis_load.py, redis_member.py and
redis_audit.py; what the keys are: redis_layout.py.
"""

_PLACES = """
local prefix = KEYS[1]
local function slot_key(slot, name) return prefix .. ':slot:' .. slot .. ':' .. name end
local function directory_key(generation, name) return prefix .. ':directory:' .. generation .. ':' .. name end
local function rows_key(generation, hex, name) return prefix .. ':rows:' .. generation .. ':' .. hex .. ':' .. name end
local function load_key(id) return prefix .. ':load:' .. id end
local function cut() return redis.error_reply('CUT this load was given up') end
local function bases(id)
  local found, flat = {}, redis.call('HGETALL', load_key(id))
  for at = 1, #flat, 2 do
    if string.sub(flat[at], 1, 5) == 'base:' then found[string.sub(flat[at], 6)] = flat[at + 1] end
  end
  return found
end
local function waste(slot, name, generation)
  redis.call('RPUSH', prefix .. ':garbage', cjson.encode({slot, name, generation}))
end
local function touched(id, slot, name)
  local base = redis.call('HGET', slot_key(slot, name), 'generation') or ''
  if redis.call('HSETNX', load_key(id), 'base:' .. name, base) == 1 and base ~= '' then
    redis.call('COPY', directory_key(base, name), directory_key(id, name))
  end
  return directory_key(id, name)
end
-- The key of a load's own copy of a piece, made when there is none yet.
local function own(id, name, directory, hex)
  local place, generation = rows_key(id, hex, name), redis.call('HGET', directory, hex)
  if generation ~= id then
    if generation then redis.call('COPY', rows_key(generation, hex, name), place) end
    redis.call('HSET', directory, hex, id)
  end
  return place
end
"""

_WRITE_ROW = """
local function holds_hash(key)
  local kind = redis.call('TYPE', key).ok
  return kind == 'hash' or kind == 'none'
end
-- ARGV from `at` on: the row's version as it was read, the row, then fields and values of distributor_release.
local function refused(at)
  if (redis.call('HGET', prefix .. ':member', 'version') or '') ~= ARGV[at] then return 'CHANGED' end
  if not holds_hash(prefix .. ':distributor_release') then
    return redis.error_reply('WRONGTYPE distributor_release is no hash any more')
  end
end
local function write_row(at)
  redis.call('HSET', prefix .. ':member', 'version', ARGV[at] + 1, 'row', ARGV[at + 1])
  redis.call('DEL', prefix .. ':distributor_release')
  redis.call('HSET', prefix .. ':distributor_release', unpack(ARGV, at + 2))
end
"""

STATE = """
local function all(key)
  local found = redis.pcall('HGETALL', key)
  return found.err and {'?', found.err} or found
end
local names = {}
for _, name in ipairs(ARGV) do names[name] = true end
local shapes = all(KEYS[1] .. ':shapes')
for at = 1, #shapes, 2 do names[string.sub(shapes[at], 3)] = true end
names[''] = nil
local reply = {all(KEYS[1] .. ':member'), all(KEYS[1] .. ':distributor_release'), shapes}
for name in pairs(names) do
  reply[#reply + 1] = {
    name, all(KEYS[1] .. ':table:' .. name), all(KEYS[1] .. ':slot:a:' .. name), all(KEYS[1] .. ':slot:b:' .. name),
  }
end
return reply
"""
"""(names…) → everything small that is under the prefix: the row, what readers are told, the shapes that were made, and
per table (of the names, and all that were made) what readers look at and both slots.

Flat fields and values; a key of another type is one field `?`."""

UNLOCK = """
if redis.call('GET', KEYS[1] .. ':lock') == ARGV[1] then return redis.call('DEL', KEYS[1] .. ':lock') end
return 0
"""
"""(holder): takes the lock away from exactly that holder."""

SAVE = (
    _PLACES
    + _WRITE_ROW
    + """
local why = refused(1)
if why then return why end
write_row(1)
return 'SAVED'
"""
)
"""(version, row, release's fields…): SAVED, or CHANGED and nothing was done."""

BEGIN = (
    _PLACES
    + """
redis.call('HSET', load_key(ARGV[1]), 'slot', ARGV[2], 'owner', ARGV[3])
redis.call('SADD', prefix .. ':loads', ARGV[1])
"""
)
"""(id, slot, owner): a load begins."""

CLEAR = (
    _PLACES
    + """
local slot = redis.call('HGET', load_key(ARGV[1]), 'slot')
if not slot then return cut() end
local directory = touched(ARGV[1], slot, ARGV[2])
redis.call('HSET', load_key(ARGV[1]), 'shape:' .. ARGV[2], cjson.encode({ARGV[4], ARGV[5], ARGV[6]}))
local gone = 0
for _, hex in ipairs(redis.call('HRANDFIELD', directory, ARGV[3])) do
  if redis.call('HGET', directory, hex) == ARGV[1] then redis.call('UNLINK', rows_key(ARGV[1], hex, ARGV[2])) end
  gone = gone + redis.call('HDEL', directory, hex)
end
return gone
"""
)
"""(id, table, count, columns, key, shape): some pieces less in the load's directory; how many, 0 at the end. The slot
will have the table in this shape."""

OWN = (
    _PLACES
    + """
local slot = redis.call('HGET', load_key(ARGV[1]), 'slot')
if not slot then return cut() end
local directory, rows, at = touched(ARGV[1], slot, ARGV[2]), 0, 4
while at <= #ARGV and rows < tonumber(ARGV[3]) do
  rows = rows + redis.call('HLEN', own(ARGV[1], ARGV[2], directory, ARGV[at]))
  at = at + 1
end
return at - 4
"""
)
"""(id, table, rows, piece…): the load gets copies of its own of the first of these pieces, until there are so many rows
in them; of how many."""

APPLY = (
    _PLACES
    + """
local id, name, deletes = ARGV[1], ARGV[2], tonumber(ARGV[3])
local slot = redis.call('HGET', load_key(id), 'slot')
if not slot then return cut() end
local directory = touched(id, slot, name)
local reply, places, count = {}, {}, 0
local function before(key)
  count = count + 1
  places[count] = own(id, name, directory, string.sub(redis.sha1hex(key), 1, 3))
  reply[count] = redis.call('HGET', places[count], key)
end
for at = 4, 3 + deletes do before(ARGV[at]) end
for at = 4 + deletes, #ARGV, 2 do before(ARGV[at]) end
for at = 1, deletes do redis.call('HDEL', places[at], ARGV[3 + at]) end
for at = deletes + 1, count do
  local key = 4 + deletes + 2 * (at - deletes - 1)
  redis.call('HSET', places[at], ARGV[key], ARGV[key + 1])
end
for at = 1, count do
  local key = at <= deletes and 3 + at or 4 + deletes + 2 * (at - deletes - 1)
  reply[count + at] = redis.call('HGET', places[at], ARGV[key])
end
return reply
"""
)
"""(id, table, deletes, keys to delete…, key, row…): what was stored under every key, then what is stored now."""

COMMIT = (
    _PLACES
    + _WRITE_ROW
    + """
local id = ARGV[1]
local slot = redis.call('HGET', load_key(id), 'slot')
if not slot then return cut() end
local found = bases(id)
if not holds_hash(prefix .. ':shapes') then return redis.error_reply('WRONGTYPE shapes is no hash any more') end
for name, base in pairs(found) do
  if (redis.call('HGET', slot_key(slot, name), 'generation') or '') ~= base then return 'OVERTAKEN' end
end
local why = refused(2)
if why then return why end
for name, base in pairs(found) do
  local shape = redis.call('HGET', load_key(id), 'shape:' .. name)
  if shape then
    local columns, key, made = unpack(cjson.decode(shape))
    redis.call('HSET', slot_key(slot, name), 'generation', id, 'columns', columns, 'key', key)
    redis.call('HSET', prefix .. ':shapes', slot .. ':' .. name, made)
  else
    redis.call('HSET', slot_key(slot, name), 'generation', id)
  end
  if base ~= '' then waste(slot, name, base) end
end
redis.call('DEL', load_key(id))
redis.call('SREM', prefix .. ':loads', id)
write_row(2)
return 'SAVED'
"""
)
"""(id, version, row, release's fields…): SAVED; CHANGED or OVERTAKEN, and nothing was done."""

DISCARD = (
    _PLACES
    + """
local slot = redis.call('HGET', load_key(ARGV[1]), 'slot')
if slot then for name in pairs(bases(ARGV[1])) do waste(slot, name, ARGV[1]) end end
redis.call('DEL', load_key(ARGV[1]))
redis.call('SREM', prefix .. ':loads', ARGV[1])
"""
)
"""(id): a load ends without a trace; what it wrote is swept later."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local snapshots = KEYS[1] .. ':snapshots'
"""

SWEEP = (
    _PLACES
    + _NOW
    + """
redis.call('ZREMRANGEBYSCORE', snapshots, '-inf', now)
local entry = redis.call('LINDEX', prefix .. ':garbage', 0)
if not entry or redis.call('ZCARD', snapshots) > 0 then return 0 end
local slot, name, generation = unpack(cjson.decode(entry))
local directory = directory_key(generation, name)
local current = redis.call('HGET', slot_key(slot, name), 'generation') or ''
if current ~= generation then
  local pairs_ = redis.call('HRANDFIELD', directory, ARGV[1], 'WITHVALUES')
  for at = 1, #pairs_, 2 do
    local hex, made_by = pairs_[at], pairs_[at + 1]
    if redis.call('HGET', directory_key(current, name), hex) ~= made_by then
      redis.call('UNLINK', rows_key(made_by, hex, name))
    end
    redis.call('HDEL', directory, hex)
  end
  if redis.call('EXISTS', directory) == 1 then return 1 end
end
redis.call('LPOP', prefix .. ':garbage')
return 1
"""
)
"""(count): takes away some pieces that no slot has any more; 0 when nothing is left, or a snapshot may need it."""

PIN = (
    _NOW
    + """
redis.call('ZADD', snapshots, now + ARGV[2], ARGV[1])
"""
    + STATE.replace("ipairs(ARGV)", "ipairs({})")
)
"""(id, milliseconds): begins a snapshot, which keeps everything that it saw; as STATE."""

KEEP = (
    _NOW
    + """
if (tonumber(redis.call('ZSCORE', snapshots, ARGV[1]) or 0)) < now then return 0 end
redis.call('ZADD', snapshots, now + ARGV[2], ARGV[1])
return 1
"""
)
"""(id, milliseconds): keeps a snapshot on; 0 when it was given up already."""
