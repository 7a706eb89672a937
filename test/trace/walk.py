# SPDX-License-Identifier: MIT
"""
Reads what `belay trace` wrote with a decoder of its own, and checks that it can be true.

    walk.py FILE [whole]

On each track slices nest and time does not go back. A processor runs one goroutine at a time. A goroutine is
started once and ends once, runs after it was runnable, and waits after it ran. Every arrow leads from what woke or started
a goroutine to where that goroutine runs. After a pause of the recording a goroutine has another slice. whole: nothing
before the beginning is missing, and nothing was paused. Prints what there is.
"""
import struct
import sys
from collections import Counter, defaultdict


def fields(data):
    """(field, value) of a message: numbers, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        field, wire = key >> 3, key & 7
        if wire == 0:
            yield field, varint()
        elif wire == 1:
            yield field, struct.unpack_from("<Q", data, at)[0]
            at += 8
        elif wire == 2:
            size = varint()
            assert at + size <= len(data), "a field is cut off"
            yield field, data[at:at + size]
            at += size
        else:
            raise AssertionError("wire type %d" % wire)


def one(data):
    return dict(fields(data))


class Track:
    def __init__(self, message):
        d = one(message)
        self.uuid, self.parent = d[1], d.get(5, 0)
        self.name = d.get(2, b"").decode()
        self.is_process = 3 in d
        self.open, self.last, self.done = [], 0, []


class Event:
    def __init__(self, at, message, names):
        self.at, self.args, self.flow, self.flow_end, self.name = at, {}, 0, 0, None
        for field, value in fields(message):
            if field == 9:
                self.type = value
            elif field == 11:
                self.track = value
            elif field == 10:
                self.name = names[value]
            elif field == 23:
                self.name = value.decode()
            elif field == 4:
                a = one(value)
                self.args[a[10].decode()] = a.get(3, a.get(6))
            elif field == 47:
                self.flow = value
            elif field == 48:
                self.flow_end = value


def read(path):
    tracks, events, names = {}, [], {}
    for field, packet in fields(open(path, "rb").read()):
        assert field == 1, field
        at = event = None
        for f, value in fields(packet):
            if f == 8:
                at = value
            elif f == 12:
                for g, name in fields(value):
                    if g == 2:
                        n = one(name)
                        names[n[1]] = n[2].decode()
            elif f == 60:
                t = Track(value)
                assert t.uuid not in tracks and (t.is_process or t.parent in tracks), t.name
                tracks[t.uuid] = t
            elif f == 11:
                event = value
        if event is not None:
            events.append(Event(at, event, names))
    return tracks, events


def path_of(tracks, track):
    names = []
    while track:
        names.append(tracks[track].name)
        track = tracks[track].parent
    return names


AWAY = ("blocks its thread", "runs without a processor")
STATES = ("runnable", "running") + AWAY


def check_states(who, states, whole):
    """The states of a goroutine, in turn."""
    before = None
    for state in states:
        waits = state not in STATES
        if state == "running":
            assert not whole or before in ("runnable",) + AWAY, (who, before, state)
        elif waits:
            assert not whole or before in ("running",) + AWAY, (who, before, state)
        elif state != "runnable":
            assert before == "running" or not whole, (who, before, state)
        # Of a ring one processor may have kept more than the other that the goroutine was on in between.
        assert state != before or state == "runnable" or not whole, (who, "twice", state)
        before = state


def main():
    whole = "whole" in sys.argv[2:]
    tracks, events = read(sys.argv[1])
    flows, ends, counts, goroutines = {}, {}, Counter(), defaultdict(list)
    for e in events:
        t = tracks[e.track]
        where = path_of(tracks, e.track)
        assert e.at >= t.last, ("time goes back", where, e.at, t.last)
        t.last = e.at
        kind = "processor" if len(where) > 1 and where[1] == "processors" else \
            "scopes" if where[0] == "scopes" else "lane" if "goroutines" in where else \
            "pauses" if where[0] == "pauses of the recording" else "outside"
        if e.type == 1:
            t.open.append(e)
            assert kind != "processor" or len(t.open) == 1, ("two at a time", where, e.name)
            if kind == "lane":
                assert len(t.open) <= 2, (where, e.name)
                if len(t.open) == 1:
                    assert e.name == "%s %d" % (where[1], e.args["goroutine"]) or not whole, e.name
                    goroutines[(where[-2 if len(where) > 2 else -1], where[-1], tracks[e.track].parent, e.name)].append(e)
                    e.states = []
                else:
                    t.open[0].states.append(e.name)
                    counts["state " + e.name] += 1
            elif kind == "processor":
                counts["slices"] += 1
            elif kind == "pauses":
                assert e.name.startswith("not recorded"), e.name
                counts["pauses"] += 1
        elif e.type == 2:
            assert t.open, ("an end too many", where)
            begun = t.open.pop()
            if kind == "processor":
                t.done.append((begun.name, begun.at, e.at))
            if kind == "lane" and not t.open:
                check_states(begun.name, begun.states, whole)
                counts["goroutines"] += 1
        else:
            assert kind in ("processor", "outside"), where
            counts["instant " + e.name.split()[0]] += 1
        if e.flow:
            assert e.type == 3 and e.flow not in flows
            flows[e.flow] = e
        if e.flow_end:
            assert e.type == 1 and kind == "processor" and e.flow_end not in ends
            ends[e.flow_end] = e
            assert flows[e.flow_end].name.split(" ", 1)[1] == e.name, (flows[e.flow_end].name, e.name)
    for t in tracks.values():
        assert not t.open, ("never ends", path_of(tracks, t.uuid))
    names = Counter(key for key in goroutines)
    for key, them in goroutines.items():
        assert 1 <= len(them) <= 1 + counts["pauses"], ("started twice", key)
    assert counts["pauses"] > 0 or len(names) == counts["goroutines"]
    counts["goroutines"] = len(names)
    counts["arrows"] = len(ends)
    assert not whole or counts["pauses"] == 0
    if whole: # each run on a processor is one in the goroutine's track
        assert counts["slices"] == counts["state running"], (counts["slices"], counts["state running"])
        assert counts["arrows"] > 0
    for t in tracks.values():
        if "scopes" == t.name:
            counts["scope tracks"] += 1
    for name in sorted(counts):
        print("%s: %d" % (name, counts[name]))


main()
