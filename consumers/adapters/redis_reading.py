"""The library of functions that readers call in the member's Redis. docs/adapters/redis.md tells readers of it.

A server has one such library for all its members. It reads only, and knows no member before it is called with its
prefix.
"""

from __future__ import annotations

import re

from consumers.adapters.redis_line import Session

LIBRARY = "distributor"
VERSION = 1
"""A server whose library has a higher one keeps it: it was made by a newer program, for another member."""

CODE = f"""#!lua name={LIBRARY}
-- version {VERSION}
-- Rows are kept as the fields of docs/certificates.md: '-' for NULL, else octets, a colon, and the text.

local STRIDE = 64

local function unpacked(text)
  local values, at, count = {{}}, 1, 0
  while at <= #text do
    count = count + 1
    if string.byte(text, at) == 45 then
      values[count], at = false, at + 1
    else
      local colon = string.find(text, ':', at, true)
      local length = colon and tonumber(string.sub(text, at, colon - 1))
      if not length then return nil end
      values[count], at = string.sub(text, colon + 1, colon + length), colon + length + 1
    end
  end
  return values, count
end

-- The table NAME as it is online: release, columns, columns of its key, where its rows are.
local function opened(prefix, name)
  local shown = redis.call('HMGET', prefix .. ':distributor_release', 'slot', 'release')
  if not shown[1] then
    return nil, redis.error_reply('NORELEASE there is no release under the prefix ' .. prefix)
  end
  local slot = redis.call('HGET', prefix .. ':table:' .. name, shown[1])
  if not slot then
    return nil, redis.error_reply('NOTABLE there is no table ' .. name .. ' under the prefix ' .. prefix)
  end
  local found = redis.call('HMGET', slot, 'columns', 'generation', 'key')
  if not found[1] or not found[3] then
    return nil, redis.error_reply('NOTABLE the table ' .. name .. ' under the prefix ' .. prefix .. ' was lost')
  end
  return {{
    prefix = prefix, name = name, release = tonumber(shown[2]), columns = cjson.decode(found[1]),
    key = cjson.decode(found[3]), generation = found[2],
    directory = found[2] and prefix .. ':directory:' .. found[2] .. ':' .. name,
  }}
end

local function place(of, generation, hex)
  return of.prefix .. ':rows:' .. generation .. ':' .. hex .. ':' .. of.name
end

local function shaped(of, text)
  local values, count = unpacked(text)
  if count ~= #of.columns then
    return redis.error_reply('DAMAGED a row of ' .. of.name .. ' does not have its columns')
  end
  return values
end

local function get(keys, args)
  if #keys ~= 1 or #args < 1 then
    return redis.error_reply('ERR usage: FCALL_RO distributor_get 1 PREFIX TABLE KEY [KEY ...]')
  end
  local of, failed = opened(keys[1], args[1])
  if failed then return failed end
  local width, reply = #of.key, {{of.release, of.columns}}
  if (#args - 1) % width ~= 0 then
    return redis.error_reply('ERR a key of ' .. of.name .. ' has ' .. width .. ' columns')
  end
  for first = 2, #args, width do
    local fields = {{}}
    for at = first, first + width - 1 do
      fields[#fields + 1] = #args[at] .. ':' .. args[at]
    end
    local key = table.concat(fields)
    local hex = string.sub(redis.sha1hex(key), 1, 3)
    local generation = of.directory and redis.call('HGET', of.directory, hex)
    local row = generation and redis.call('HGET', place(of, generation, hex), key)
    if row then
      row = shaped(of, row)
      if row.err then return row end
    end
    reply[#reply + 1] = row or false
  end
  return reply
end

local function scan(keys, args)
  if #keys ~= 1 or #args < 2 then
    return redis.error_reply('ERR usage: FCALL_RO distributor_scan 1 PREFIX TABLE CURSOR [COUNT]')
  end
  local of, failed = opened(keys[1], args[1])
  if failed then return failed end
  local generation, at = string.match(args[2], '^(%x+)%.(%d+)$')
  if generation and generation ~= of.generation then
    return redis.error_reply('CHANGED another release is online: begin anew with the cursor 0')
  elseif not generation and args[2] ~= '0' then
    return redis.error_reply('ERR this is no cursor of distributor_scan')
  end
  local next_, count = tonumber(at or 0), tonumber(args[3] or 1000) or 1000
  local reply = {{of.release, of.columns, '0'}}
  while of.directory and next_ < 4096 and #reply - 3 < count do
    local hexes = {{}}
    for number = next_, math.min(next_ + STRIDE, 4096) - 1 do
      hexes[#hexes + 1] = string.format('%03x', number)
    end
    local generations = redis.call('HMGET', of.directory, unpack(hexes))
    for index, hex in ipairs(hexes) do
      if #reply - 3 >= count then break end
      next_ = next_ + 1
      if generations[index] then
        for _, text in ipairs(redis.call('HVALS', place(of, generations[index], hex))) do
          local row = shaped(of, text)
          if row.err then return row end
          reply[#reply + 1] = row
        end
      end
    end
  end
  if of.directory and next_ < 4096 then reply[3] = of.generation .. '.' .. next_ end
  return reply
end

redis.register_function{{function_name = 'distributor_get', callback = get, flags = {{'no-writes'}}}}
redis.register_function{{function_name = 'distributor_scan', callback = scan, flags = {{'no-writes'}}}}
"""


def prepare(session: Session) -> None:
    """Loads the library, unless it is there, or a newer one is."""
    if _wrong(session):
        session.client.function_load(CODE, replace=True)


def altered(session: Session) -> list[str]:
    """Whether it is gone, or somebody has changed it: a sentence with its mend."""
    return [f"{what}. The member's consumer loads it when it starts, or stages."] if (what := _wrong(session)) else []


def _wrong(session: Session) -> str:
    found = session.client.execute_command("FUNCTION LIST", "LIBRARYNAME", LIBRARY, "WITHCODE")
    if not found:
        return f"the library of functions {LIBRARY}, which readers call, is gone"
    code = _code(found[0])
    version = re.search(r"^-- version (\d+)$", code, re.MULTILINE)
    if code == CODE or (version and int(version[1]) > VERSION):
        return ""
    return f"the library of functions {LIBRARY}, which readers call, is not of version {VERSION} as it was made"


def _code(library: object) -> str:
    """The code of a library, whichever protocol is spoken."""
    if isinstance(library, dict):
        code = library[b"library_code"]
    else:
        assert isinstance(library, list)
        code = library[library.index(b"library_code") + 1]
    assert isinstance(code, bytes)
    return code.decode()
