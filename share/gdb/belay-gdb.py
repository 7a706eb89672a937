# SPDX-License-Identifier: MIT
"""gdb's view of goroutines: in running programs and in core files.

    info goroutines          every goroutine: state, since when, function, where it was started
    goroutine N CMD          CMD as if goroutine N ran on the current thread: goroutine 7 bt
    goroutine all CMD        the same for each goroutine

and printers for bl_chan, bl_mutex, bl_rwmutex, bl_cond, bl_waitgroup, bl_sem, bl_once, bl_scope and
bl_timer. gdb loads this by itself with an installed libbelay.so; else: source belay-gdb.py

Core files are to be the kernel's: gdb's gcore leaves out all stacks where the kernel guards them
within one mapping (Linux 6.13).

Nothing is written into the program. A goroutine that is switched off is shown by an unwinder: while
the command runs, it says that the caller of the current thread's frame 0 is where the goroutine left
off. So the goroutine's own frames begin with number 1.

Where things lie in memory is read from bl__layout (src/debug/layout.h), which the library carries with
it, so neither its debug information nor its symbols are needed.
"""

import os
import struct
import time

import gdb
import gdb.unwinder

NAME_SIZE = 28
ENTRY_SIZE = NAME_SIZE + 4
MACHINES = {
    # by the name that gdb has for the architecture: stack pointer, program counter, and where a
    # switched-off goroutine's registers lie above its saved stack pointer (src/arch/switch.h)
    "x86-64": ("rsp", "rip", {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48,
                              "rip": 56}),
    "aarch64": ("sp", "pc", dict([("x%d" % (19 + i), 8 * i) for i in range(12)] + [("pc", 88)])),
}


class NotBelay(gdb.GdbError):
    """The program has no runtime, or it has not begun."""


# ---- Memory ----

def memory(at, size):
    return bytes(gdb.selected_inferior().read_memory(at, size))


def word(at, size=8, signed=False):
    return int.from_bytes(memory(at, size), "little", signed=signed)


def text(at):
    """The C string at that address, or None."""
    if at == 0:
        return None
    out = b""
    try:
        while len(out) < 4096:
            piece = memory(at + len(out), 16 - (at + len(out)) % 16)
            out += piece
            if b"\0" in piece:
                break
    except gdb.MemoryError:
        pass
    return out.split(b"\0")[0].decode("utf-8", "replace") if out else None


# ---- The layout ----

def note_offset(path):
    """The address, as linked, of what the note in the file points to; and its section .text's."""
    with open(path, "rb") as f:
        image = f.read()
    if image[:5] != b"\x7fELF\x02":
        return None, 0, 0
    entry, phoff = struct.unpack_from("<QQ", image, 24)
    phsize, phcount = struct.unpack_from("<HH", image, 54)
    for i in range(phcount):
        kind, _, offset, vaddr, _, size = struct.unpack_from("<IIQQQQ", image, phoff + i * phsize)
        if kind != 4:
            continue
        at, end = offset, offset + size
        while at + 12 <= end:
            name, desc, note = struct.unpack_from("<III", image, at)
            if note == 1 and image[at + 12:at + 12 + name] == b"belay\0" and desc == 4:
                body = at + 12 + (name + 3) // 4 * 4
                return (vaddr + body - offset + struct.unpack_from("<i", image, body)[0], entry,
                        text_address(image))
            at += 12 + (name + 3) // 4 * 4 + (desc + 3) // 4 * 4
    return None, 0, 0


def text_address(image):
    shoff = struct.unpack_from("<Q", image, 40)[0]
    shsize, shcount, names = struct.unpack_from("<HHH", image, 58)
    if shoff == 0 or shcount == 0:
        return 0
    strings = struct.unpack_from("<Q", image, shoff + names * shsize + 24)[0]
    for i in range(shcount):
        name, _, _, address = struct.unpack_from("<IIQQ", image, shoff + i * shsize)
        if image[strings + name:].startswith(b".text\0") if name else False:
            return address
    return 0


def words_of(command):
    return [line.split() for line in gdb.execute(command, to_string=True).splitlines()]


def find_by_note():
    """For a program without symbols: the note in the file, and where the file was loaded."""
    program = gdb.current_progspace().filename
    try:
        offset, entry, _ = note_offset(program) if program else (None, 0, 0)
        if offset is not None:
            for line in words_of("info auxv"):
                if "AT_ENTRY" in line:
                    return offset + int(line[-1], 16) - entry
        for line in words_of("info sharedlibrary"):
            if line and line[0].startswith("0x") and os.path.exists(line[-1]):
                offset, _, start = note_offset(line[-1])
                if offset is not None and start:
                    return offset + int(line[0], 16) - start
    except (OSError, struct.error, gdb.error):
        pass
    return None


class Layout:
    """The library's own table of where things lie."""

    def __init__(self, at):
        head = memory(at, 40)
        if head[:8] != b"bllayout":
            raise NotBelay("This program's belay has no bl__layout that this script can read.")
        version, _, self.rt, reasons, self.orphan = struct.unpack("<IIQQQ", head[8:])
        if version != 1:
            raise NotBelay("This program's belay is of another version: its layout is %d, and this "
                           "script knows 1. Use the script that was installed with it." % version)
        self.values = {}
        at += 40
        while True:
            entry = memory(at, ENTRY_SIZE)
            name = entry[:NAME_SIZE].split(b"\0")[0].decode()
            if not name:
                break
            self.values[name] = int.from_bytes(entry[NAME_SIZE:], "little")
            at += ENTRY_SIZE
        self.reasons = [text(word(reasons + 8 * i)) or ""
                        for i in range(self.values["value.reasons"])]

    def __getitem__(self, name):
        return self.values[name]

    def u64(self, at, field):
        return word(at + self.values[field])

    def i64(self, at, field):
        return word(at + self.values[field], 8, True)

    def u32(self, at, field):
        return word(at + self.values[field], 4)

    def i32(self, at, field):
        return word(at + self.values[field], 4, True)

    def u8(self, at, field):
        return word(at + self.values[field], 1)


layouts = {}


def layout():
    """That of the program as it lies in memory now."""
    inferior = gdb.selected_inferior()
    if not inferior.pid and not inferior.threads():
        raise NotBelay("There is no process: start the program, or load a core file.")
    try:
        at = int(gdb.parse_and_eval("(unsigned long)&bl__layout"))
    except gdb.error:
        at = find_by_note()
    if at is None:
        raise NotBelay("This program does not use belay, or a version from before this script.")
    key = (gdb.current_progspace().filename, inferior.pid, at)
    if key not in layouts:
        try:
            layouts[key] = Layout(at)
        except gdb.MemoryError:
            raise NotBelay("The program's memory cannot be read yet: let it begin first.")
    return layouts[key]


# ---- Goroutines ----

def place(at):
    """A bl__site as function, place."""
    if at == 0:
        return None, None
    lay = layout()
    return (text(lay.u64(at, "site.func")),
            "%s:%d" % (text(lay.u64(at, "site.file")), lay.i32(at, "site.line")))


def function_at(pc):
    block = gdb.block_for_pc(pc)
    while block is not None and block.function is None:
        block = block.superblock
    if block is not None:
        return block.function.name
    symbol = gdb.execute("info symbol 0x%x" % pc, to_string=True)
    return symbol.split()[0] if not symbol.startswith("No symbol") else "0x%x" % pc


def is_target(kind):
    connection = getattr(gdb.selected_inferior(), "connection", None)
    return connection is not None and connection.type == kind


def clock(lay):
    """The time of the program's stamps. What it keeps of that itself stands while it is idle: for core files."""
    if is_target("native"):
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return lay.u64(lay.rt, "rt.coarse")


def duration(ns):
    for unit, name in ((3600 * 10**9, "h"), (60 * 10**9, "m"), (10**9, "s"), (10**6, "ms")):
        if ns >= unit:
            return "%d%s" % (ns // unit, name)
    return ""


class Goroutine:
    """What its record says; tid is the thread that runs it, or None."""

    def __init__(self, lay, record, prefix, tid=None):
        kind = "spawned" if prefix == "spawned" else "g"
        take = lambda field, size=8: int.from_bytes(
            record[lay[kind + "." + field]:lay[kind + "." + field] + size], "little")
        self.id, self.parent, self.fn = take("id"), take("parent"), take("fn")
        self.site, self.labels, self.scope = take("site"), take("labels"), take("scope")
        self.status, self.tid = take("status", 4), tid
        self.begun = kind == "g"
        self.sp = self.reason = self.since = self.object = self.switches = 0
        if self.begun:
            self.sp, self.object, self.since = take("sp"), take("wait_obj"), take("since")
            self.reason, self.switches = take("reason", 1), take("switches", 4)
            self.lo, self.hi = take("stack_lo"), take("stack_hi")

    def is_parked(self):
        return self.begun and self.tid is None and self.lo <= self.sp < self.hi

    def state(self, lay):
        if self.tid is not None:
            thread = thread_of(self.tid)
            return "running (%s)" % ("thread %d" % thread.num if thread else "LWP %d" % self.tid)
        if self.status != lay["value.parked"]:
            return "runnable"
        waited = duration(clock(lay) - self.since) if self.since else ""
        return lay.reasons[self.reason] + (", " + waited if waited else "")

    def started(self):
        func, where = place(self.site)
        if func is None or self.id == 1:
            return ""
        return "%s (%s)" % (where, func) if self.parent else where


def thread_of(tid):
    for thread in gdb.selected_inferior().threads():
        if tid in (thread.ptid[1], thread.ptid[2]):
            return thread
    return None


def running(lay):
    """The record that each thread runs: {record: tid}."""
    found, m = {}, lay.u64(lay.rt, "rt.all_m")
    while m:
        found[lay.u64(m, "m.g")] = lay.i32(m, "m.tid")
        m = lay.u64(m, "m.all_next")
    return found


def goroutines():
    """All of them, by number."""
    lay = layout()
    rt, size, slot = lay.rt, lay["sizeof.g"], lay.u64(lay.rt, "rt.stack_slot")
    on, out = running(lay), []
    arena = lay.u64(rt, "rt.arenas")
    while arena:
        base = lay.u64(arena, "arena.base")
        for i in range(lay.u64(arena, "arena.used")):
            colour = i * lay["value.colour_factor"] % lay["value.colours"]
            line = lay["value.cache_line"]
            at = (slot - size - colour * lay["value.colour_step"]) // line * line
            at += base + i * slot
            if lay.u32(at, "g.status") != lay["value.dead"]:
                out.append(Goroutine(lay, memory(at, size), "g", on.get(at)))
        arena = lay.u64(arena, "arena.next")
    slab = lay.u64(rt, "rt.spawn_slabs")
    size = lay["sizeof.spawned"]
    while slab:
        records = memory(slab + lay["slab.records"], size * lay["value.slab"])
        for i in range(lay["value.slab"]):
            g = Goroutine(lay, records[i * size:(i + 1) * size], "spawned")
            if g.status != lay["value.dead"]:
                out.append(g)
        slab = lay.u64(slab, "slab.next")
    return sorted(out, key=lambda g: g.id)


# ---- A goroutine's frames ----

def machine():
    name = gdb.selected_inferior().architecture().name()
    if name.startswith("i386:x86-64"):
        return MACHINES["x86-64"]
    if name.startswith("aarch64"):
        return MACHINES["aarch64"]
    raise gdb.GdbError("goroutine: not for %s" % name)


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class ParkedUnwinder(gdb.unwinder.Unwinder):
    """Leads from frame 0 of the thread whose stack pointer is `real_sp` into the goroutine."""

    def __init__(self):
        super().__init__("belay goroutine")
        self.goroutine = None
        self.real_sp = 0

    def __call__(self, pending):
        g = self.goroutine
        if g is None:
            return None
        sp_name, pc_name, saved = machine()
        if int(pending.read_register(sp_name)) != self.real_sp:
            return None
        lay = layout()
        frame = memory(g.sp, lay["value.frame"])
        kind = pending.read_register(pc_name).type
        info = pending.create_unwind_info(FrameId(gdb.Value(g.sp), pending.read_register(pc_name)))
        for register, offset in saved.items():
            value = int.from_bytes(frame[offset:offset + 8], "little")
            as_type = kind if register == pc_name else pending.read_register(register).type
            info.add_saved_register(register, gdb.Value(value).cast(as_type))
        top = gdb.Value(g.sp + lay["value.frame"]).cast(pending.read_register(sp_name).type)
        info.add_saved_register(sp_name, top)
        return info


class ThreadFrameFilter:
    """Leaves the thread's own frame 0 out of backtraces while a goroutine is shown."""

    def __init__(self):
        self.name, self.priority, self.enabled = "belay goroutine", 1000, True
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        if unwinder.goroutine is None:
            return frames
        return (f for f in frames if f.inferior_frame().level() > 0)


unwinder = ParkedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)
ThreadFrameFilter()


def switched_to(g, command):
    """Runs the gdb command in the goroutine; leaves thread and frame as they were."""
    before, frame = gdb.selected_thread(), gdb.selected_frame()
    level = frame.level()
    try:
        if g.tid is not None:
            thread = thread_of(g.tid)
            if thread is None:
                raise gdb.GdbError("goroutine %d runs on thread LWP %d, which is not here." %
                                   (g.id, g.tid))
            thread.switch()
            gdb.newest_frame().select()
        else:
            sp_name = machine()[0]
            gdb.newest_frame().select()
            unwinder.real_sp = int(gdb.newest_frame().read_register(sp_name))
            unwinder.goroutine = g
            gdb.invalidate_cached_frames()
            older = gdb.newest_frame().older()
            if older is None:
                raise gdb.GdbError("goroutine %d: its stack cannot be read." % g.id)
            older.select()
        gdb.execute(command)
    finally:
        unwinder.goroutine = None
        gdb.invalidate_cached_frames()
        if before is not None and before.is_valid():
            before.switch()
            again = gdb.newest_frame()
            while again is not None and again.level() < level:
                again = again.older()
            if again is not None:
                again.select()


def source_root():
    """The folder that the library was built from, as its debug information has it, or None."""
    symbol = gdb.lookup_global_symbol("bl_run")
    path = symbol.symtab.fullname() if symbol is not None and symbol.symtab is not None else ""
    return path[:-len("core/run.c")] if path.endswith("/core/run.c") else None


def innermost(g):
    """The program's own innermost function: behind the runtime's frames."""
    found, sources = [], source_root()

    def look():
        frame = gdb.newest_frame().older()
        names, last = [], 0
        while frame is not None and frame.name() != "bl__goroutine_main" and len(names) < 24:
            names.append(frame.name() or "?")
            # The static functions between: by their file, or where that is unknown by closeness.
            symtab = frame.find_sal().symtab
            own = symtab is not None and symtab.fullname().startswith(sources) if sources else None
            if names[-1].startswith("bl_") or own:
                last = len(names)
            elif own is False or len(names) - last > 4:
                break
            frame = frame.older()
        if last < len(names):
            found.append(names[last])

    unwinder.real_sp = int(gdb.newest_frame().read_register(machine()[0]))
    unwinder.goroutine = g
    gdb.invalidate_cached_frames()
    try:
        look()
    finally:
        unwinder.goroutine = None
        gdb.invalidate_cached_frames()
    return found[0] if found else None


class InfoGoroutines(gdb.Command):
    """List the goroutines: number, state, since when, function, and where it was started.

A * marks the one that the selected thread runs."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        lay, rows = layout(), []
        thread = gdb.selected_thread()
        for g in goroutines():
            here = thread is not None and g.tid is not None and g.tid in thread.ptid
            name = function_at(g.fn) if g.fn else "?"
            inner = None
            if g.is_parked():
                try:
                    inner = innermost(g)
                except (gdb.error, RuntimeError):
                    pass
            where = name if inner in (None, "?", name) else "%s in %s" % (inner, name)
            rows.append(("*" if here else " ", str(g.id), "[%s]" % g.state(lay), where, g.started()))
        if not rows:
            print("No goroutines%s." % (
                ": the program is not in bl_run" if not lay.u32(lay.rt, "rt.running") else
                " in this core file: their stacks are not in it, as with gdb's gcore; take one of "
                "the kernel's" if is_target("core") else ""))
            return
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            print("%s %*s  %-*s  %-*s  %s" % (row[0], widths[1], row[1], min(widths[2], 40), row[2],
                                            min(widths[3], 40), row[3], row[4]))


class GoroutineCommand(gdb.Command):
    """Run a gdb command in a goroutine.

    goroutine N CMD       goroutine 7 bt, goroutine 7 info locals
    goroutine all CMD     in each, one after the other

The frames of a goroutine that no thread runs begin with number 1."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def one(self, g, command, lay, many):
        if many:
            print("\ngoroutine %d [%s]:" % (g.id, g.state(lay)))
        if g.tid is None and not g.is_parked():
            print("It has not run yet: it was started with %s at %s." %
                  (function_at(g.fn), g.started()))
            return
        switched_to(g, command)

    def invoke(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        command = command.strip()
        if not which or not command:
            raise gdb.GdbError("usage: goroutine N|all CMD, as in: goroutine 7 bt")
        lay, all_of_them = layout(), goroutines()
        if which == "all":
            for g in all_of_them:
                try:
                    self.one(g, command, lay, True)
                except gdb.error as e:
                    print(e)
            return
        if not which.isdigit():
            raise gdb.GdbError("%s is not the number of a goroutine; 'info goroutines' lists them." %
                               which)
        found = [g for g in all_of_them if g.id == int(which)]
        if not found:
            raise gdb.GdbError("There is no goroutine %s; 'info goroutines' lists them." % which)
        self.one(found[0], command, lay, False)


# ---- Printers ----

def owner(address):
    lay = layout()
    if address == lay.orphan:
        return "a goroutine that has ended"
    if lay.u32(address, "g.kind") == lay["value.thread"]:
        return "a plain thread"
    return "goroutine %d" % lay.u64(address, "g.id")


def waiters(head):
    """", goroutines 3, 4 wait", from a queue's first waiter."""
    lay, names = layout(), []
    at = word(head)
    while at and len(names) < 16:
        names.append(owner(lay.u64(at, "waiter.g")))
        at = lay.u64(at, "waiter.next")
    if not names:
        return ""
    return ", %s%s wait%s" % (", ".join(names), ", …" if at else "", "s" if len(names) == 1 else "")


def made(site, how="made"):
    func, where = place(site)
    return ", %s by %s at %s" % (how, func, where) if func else ""


def chan_text(at):
    lay = layout()
    if lay.u32(at, "chan.magic") not in (lay["value.chan_live"], lay["value.chan_bubble"]):
        return "channel (freed)"
    cap, size = lay.u32(at, "chan.cap"), word(at + lay["chan.size"], 2)
    out = "channel of %d bytes, " % size
    out += "%d of %d buffered" % (lay.u32(at, "chan.len"), cap) if cap else "unbuffered"
    if lay.u8(at, "chan.closed"):
        out += ", closed"
    for queue, what in (("chan.recvq", " to receive"), ("chan.sendq", " to send")):
        waiting = waiters(at + lay[queue])
        out += waiting + what if waiting else ""
    return out + made(lay.u64(at, "chan.made"))


def mutex_text(at):
    held = layout().u64(at, "mutex.word") & ~7
    out = "held by " + owner(held) if held else "unlocked"
    return "mutex, " + out + waiters(at + layout()["mutex.head"])


def rwmutex_text(at):
    lay = layout()
    value = lay.u64(at, "rwmutex.word")
    if value & 2:
        out = "held by %s for writing" % owner(value & ~7)
    else:
        out = "held by %d reader%s" % (value >> 3, "" if value >> 3 == 1 else "s") \
            if value >> 3 else "unlocked"
    for queue, what in (("rwmutex.readers", " to read"), ("rwmutex.writers", " to write")):
        waiting = waiters(at + lay[queue])
        out += waiting + what if waiting else ""
    return "rwmutex, " + out


def scope_text(at):
    lay = layout()
    if lay.u32(at, "scope.magic") != lay["value.scope_open"]:
        return "scope (not open)"
    name = text(lay.u64(at, "scope.name"))
    live = (lay.i64(at, "scope.live") >> lay["value.live_shift"]) + lay.i64(at, "scope.started")
    out = 'scope "%s"' % name if name else "scope"
    out += ", %d goroutine%s not joined" % (live, "" if live == 1 else "s")
    if lay.i32(at, "scope.limit"):
        out += ", limit %d" % lay.i32(at, "scope.limit")
    state = word(lay.u64(at, "scope.ctx"), 4, True)
    if state:
        out += ", cancelled" if state != -110 else ", timed out"
    return out + made(lay.u64(at, "scope.made"), "opened")


def timer_text(at):
    lay = layout()
    if not lay.u64(at, "timer.self"):
        return "timer (never started)"
    out = "timer, "
    if lay.u64(at, "timer.heap"):
        left = lay.i64(at, "timer.when") - clock(lay)
        out += "due in %s" % (duration(left) or "0ms")
    else:
        out += "not pending"
    if lay.u64(at, "timer.fn"):
        out += ", starts " + function_at(lay.u64(at, "timer.fn"))
    return out + made(lay.u64(at, "timer.made"), "started")


def counted(noun, field, word_for_it):
    def describe(at):
        lay = layout()
        return "%s, %d %s%s" % (noun, lay.i64(at, field + ".count"), word_for_it,
                                waiters(at + lay[field + ".head"]))
    return describe


def once_text(at):
    lay = layout()
    if lay.u32(at, "once.done"):
        return "once, done"
    runner = lay.u64(at, "once.runner")
    return "once, " + ("run by " + owner(runner) if runner else "not begun") + \
        waiters(at + lay["once.head"])


PRINTERS = {
    "bl_chan": chan_text, "bl_mutex": mutex_text, "bl_rwmutex": rwmutex_text,
    "bl_cond": lambda at: "cond" + waiters(at + layout()["cond.head"]),
    "bl_waitgroup": counted("wait group", "waitgroup", "to go"),
    "bl_sem": counted("semaphore", "sem", "free"),
    "bl_once": once_text, "bl_scope": scope_text, "bl_timer": timer_text,
}


class ObjectPrinter:
    def __init__(self, value, at, describe, pointer):
        self.value, self.at, self.describe, self.pointer = value, at, describe, pointer

    def to_string(self):
        try:
            said = self.describe(self.at)
        except (gdb.error, gdb.GdbError) as e:
            said = "(%s)" % e
        return "0x%x: %s" % (self.at, said) if self.pointer else said


def lookup(value):
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        name, at = kind.tag or value.type.name, value.address
        pointer = False
    elif kind.code == gdb.TYPE_CODE_PTR:
        # Channels are opaque to programs, so a pointer is all that there is to print.
        name, at, pointer = kind.target().strip_typedefs().tag, value, True
        if name != "bl_chan" or int(value) == 0:
            return None
    else:
        return None
    if name not in PRINTERS or at is None:
        return None
    return ObjectPrinter(value, int(at), PRINTERS[name], pointer)


lookup.name = "belay"
gdb.pretty_printers[:] = [p for p in gdb.pretty_printers if getattr(p, "name", "") != "belay"]
gdb.pretty_printers.append(lookup)
InfoGoroutines()
GoroutineCommand()
