//! CBOR (RFC 8949), in Zig's own values.
//!
//! `decode` reads a `Value`, or any type that a value fits: integers, floats, bools, optionals, text as
//! `[]const u8`, slices, arrays and tuples from lists, structs from maps. `encode` writes the same types.

const std = @import("std");
const Allocator = std.mem.Allocator;
const types = @import("cbor_types.zig");

/// Any CBOR value. Text and bytes point into the message that they were decoded from, where they can.
pub const Value = union(enum) {
    null,
    bool: bool,
    /// An `i65` holds exactly the integers of CBOR: from -2^64 to 2^64 - 1.
    int: i65,
    float: f64,
    text: []const u8,
    bytes: []const u8,
    list: []const Value,
    /// The entries in their order. Whether a key is there twice is not looked at.
    map: []const Entry,
    /// A tag and what it is on. 2 and 3 are integers beyond `int`: see `bigInt`.
    tagged: *const Tagged,
    /// A simple value other than false, true and null; 23 is JavaScript's undefined.
    simple: u8,

    /// The value of the first entry that has this text as its key.
    pub fn get(value: Value, key: []const u8) ?Value {
        if (value != .map) return null;
        for (value.map) |entry| {
            if (entry.key == .text and std.mem.eql(u8, entry.key.text, key)) return entry.value;
        }
        return null;
    }

    /// The value as a type that it fits.
    pub fn to(value: Value, comptime T: type, allocator: Allocator) types.Error!T {
        return types.fromValue(T, allocator, value);
    }

    /// An integer of any size.
    pub fn bigInt(value: Value, allocator: Allocator) types.Error!std.math.big.int.Managed {
        return types.bigInt(allocator, value);
    }
};

/// An entry of a map.
pub const Entry = struct { key: Value, value: Value };

/// A tag and what it is on.
pub const Tagged = struct { number: u64, content: Value };

/// What is wrong with a message, or with a value that has no encoding.
pub const Error = error{
    CborEndsTooEarly,
    CborHasBytesAfterIt,
    CborIsNestedTooDeep,
    CborIsMalformed,
    CborTextIsNotUtf8,
    OutOfMemory,
};

/// Bounds recursion, and with it the stack that a message can take.
pub const max_depth = 64;

/// How many items a list or map may announce and get room for at once; more are added as they come. So a few
/// bytes that announce millions of items get no memory for them.
const trusted = 256;

/// The first three bits of an item.
const Major = enum(u3) { unsigned, negative, bytes, text, list, map, tag, other };

const Head = struct {
    major: Major,
    /// The five bits beside the major type. 31 is an indefinite length, or the break that ends one.
    info: u5,
    number: u64,

    fn indefinite(head: Head) bool {
        return head.info == 31;
    }
};

/// Decodes a message that is one CBOR value.
///
/// What it allocates is not freed one by one: use an arena.
pub fn decode(comptime T: type, arena: Allocator, message: []const u8) (Error || types.Error)!T {
    var decoder: Decoder = .{ .arena = arena, .rest = message };
    const value = try decoder.value(0);
    if (decoder.rest.len > 0) return error.CborHasBytesAfterIt;
    return if (T == Value) value else value.to(T, arena);
}

const Decoder = struct {
    arena: Allocator,
    rest: []const u8,

    fn take(decoder: *Decoder, count: u64) Error![]const u8 {
        if (count > decoder.rest.len) return error.CborEndsTooEarly;
        const bytes = decoder.rest[0..@intCast(count)];
        decoder.rest = decoder.rest[bytes.len..];
        return bytes;
    }

    fn head(decoder: *Decoder) Error!Head {
        const first = (try decoder.take(1))[0];
        const major: Major = @fromBackingInt(@intCast(first >> 5));
        const info: u5 = @truncate(first);
        var number: u64 = info;
        switch (info) {
            0...23 => {},
            24...27 => {
                number = 0;
                for (try decoder.take(@as(u64, 1) << @intCast(info - 24))) |byte| number = number << 8 | byte;
            },
            28...30 => return error.CborIsMalformed,
            31 => switch (major) {
                .unsigned, .negative, .tag => return error.CborIsMalformed,
                else => {},
            },
        }
        return .{ .major = major, .info = info, .number = number };
    }

    /// Whether the next item is the break that ends an indefinite length; takes it if so.
    fn ended(decoder: *Decoder) bool {
        if (decoder.rest.len == 0 or decoder.rest[0] != 0xff) return false;
        decoder.rest = decoder.rest[1..];
        return true;
    }

    /// Whether a list or map with `count` items so far goes on.
    fn more(decoder: *Decoder, of: Head, count: usize) bool {
        return if (of.indefinite()) !decoder.ended() else count < of.number;
    }

    fn value(decoder: *Decoder, depth: usize) Error!Value {
        const start = try decoder.head();
        if (depth > max_depth) return error.CborIsNestedTooDeep;
        switch (start.major) {
            .unsigned => return .{ .int = start.number },
            .negative => return .{ .int = -1 - @as(i65, start.number) },
            .bytes => return .{ .bytes = try decoder.string(start) },
            .text => return .{ .text = try decoder.string(start) },
            .list => return .{ .list = try decoder.list(start, depth) },
            .map => return .{ .map = try decoder.map(start, depth) },
            .tag => {
                const tagged = try decoder.arena.create(Tagged);
                tagged.* = .{ .number = start.number, .content = try decoder.value(depth + 1) };
                if ((tagged.number == 2 or tagged.number == 3) and tagged.content != .bytes) return error.CborIsMalformed;
                return .{ .tagged = tagged };
            },
            .other => return other(start),
        }
    }

    fn list(decoder: *Decoder, start: Head, depth: usize) Error![]const Value {
        var items: std.ArrayList(Value) = try .initCapacity(decoder.arena, capacity(start));
        while (decoder.more(start, items.items.len)) {
            try items.append(decoder.arena, try decoder.value(depth + 1));
        }
        return items.items;
    }

    fn map(decoder: *Decoder, start: Head, depth: usize) Error![]const Entry {
        var entries: std.ArrayList(Entry) = try .initCapacity(decoder.arena, capacity(start));
        while (decoder.more(start, entries.items.len)) {
            const key = try decoder.value(depth + 1);
            try entries.append(decoder.arena, .{ .key = key, .value = try decoder.value(depth + 1) });
        }
        return entries.items;
    }

    /// Reads a string: in one piece it stays where it is, in several they are put together.
    fn string(decoder: *Decoder, start: Head) Error![]const u8 {
        if (!start.indefinite()) return decoder.chunk(start);
        var whole: std.ArrayList(u8) = .empty;
        while (!decoder.ended()) {
            const next = try decoder.head();
            if (next.major != start.major or next.indefinite()) return error.CborIsMalformed;
            try whole.appendSlice(decoder.arena, try decoder.chunk(next));
        }
        return whole.items;
    }

    fn chunk(decoder: *Decoder, of: Head) Error![]const u8 {
        const bytes = try decoder.take(of.number);
        if (of.major == .text and !std.unicode.utf8ValidateSlice(bytes)) return error.CborTextIsNotUtf8;
        return bytes;
    }
};

fn capacity(of: Head) usize {
    return if (of.indefinite()) 0 else @intCast(@min(of.number, trusted));
}

fn other(head: Head) Error!Value {
    return switch (head.info) {
        20, 21 => .{ .bool = head.info == 21 },
        22 => .null,
        24 => if (head.number < 32) error.CborIsMalformed else .{ .simple = @intCast(head.number) },
        25 => .{ .float = @as(f16, @bitCast(@as(u16, @intCast(head.number)))) },
        26 => .{ .float = @as(f32, @bitCast(@as(u32, @intCast(head.number)))) },
        27 => .{ .float = @bitCast(head.number) },
        31 => error.CborIsMalformed,
        else => .{ .simple = head.info },
    };
}

/// Encodes a value. The caller owns the bytes.
///
/// `[]const u8` is text, and must be UTF-8; for bytes, wrap it: `Value{ .bytes = data }`.
pub fn encode(allocator: Allocator, value: anytype) Error![]u8 {
    var encoder: Encoder = .{ .allocator = allocator };
    errdefer encoder.out.deinit(allocator);
    try types.encode(&encoder, value, 0);
    return encoder.out.toOwnedSlice(allocator);
}

/// Writes values one after the other.
pub const Encoder = struct {
    allocator: Allocator,
    out: std.ArrayList(u8) = .empty,

    /// A list of `length` items, which follow.
    pub fn list(encoder: *Encoder, length: u64) Error!void {
        try encoder.head(.list, length);
    }

    /// A map of `length` entries, which follow: a key, its value, and so on.
    pub fn map(encoder: *Encoder, length: u64) Error!void {
        try encoder.head(.map, length);
    }

    pub fn int(encoder: *Encoder, number: i65) Error!void {
        try if (number < 0) encoder.head(.negative, @intCast(-1 - number)) else encoder.head(.unsigned, @intCast(number));
    }

    pub fn float(encoder: *Encoder, number: f64) Error!void {
        try encoder.fixed(27, number);
    }

    pub fn text(encoder: *Encoder, string: []const u8) Error!void {
        if (!std.unicode.utf8ValidateSlice(string)) return error.CborTextIsNotUtf8;
        try encoder.head(.text, string.len);
        try encoder.out.appendSlice(encoder.allocator, string);
    }

    pub fn @"bool"(encoder: *Encoder, value: bool) Error!void {
        try encoder.head(.other, if (value) 21 else 20);
    }

    pub fn @"null"(encoder: *Encoder) Error!void {
        try encoder.head(.other, 22);
    }

    /// Any value, at a depth of nesting that counts towards the limit.
    pub fn any(encoder: *Encoder, value: Value, depth: usize) Error!void {
        if (depth > max_depth) return error.CborIsNestedTooDeep;
        switch (value) {
            .null => try encoder.null(),
            .bool => |boolean| try encoder.bool(boolean),
            .int => |number| try encoder.int(number),
            .float => |number| try encoder.float(number),
            .text => |string| try encoder.text(string),
            .bytes => |bytes| {
                try encoder.head(.bytes, bytes.len);
                try encoder.out.appendSlice(encoder.allocator, bytes);
            },
            .list => |items| {
                try encoder.list(items.len);
                for (items) |item| try encoder.any(item, depth + 1);
            },
            .map => |entries| {
                try encoder.map(entries.len);
                for (entries) |entry| {
                    try encoder.any(entry.key, depth + 1);
                    try encoder.any(entry.value, depth + 1);
                }
            },
            .tagged => |tagged| {
                try encoder.head(.tag, tagged.number);
                try encoder.any(tagged.content, depth + 1);
            },
            .simple => |number| try switch (number) {
                24...31 => error.CborIsMalformed,
                else => encoder.head(.other, number),
            },
        }
    }

    /// The start of an item, in the shortest form.
    fn head(encoder: *Encoder, major: Major, number: u64) Error!void {
        const first = @as(u8, @backingInt(major)) << 5;
        if (number < 24) return encoder.out.append(encoder.allocator, first | @as(u8, @intCast(number)));
        const size: u6 = if (number <= 0xff) 0 else if (number <= 0xffff) 1 else if (number <= 0xffff_ffff) 2 else 3;
        try encoder.out.append(encoder.allocator, first | 24 + @as(u8, size));
        try encoder.big(number, @as(usize, 1) << @intCast(size));
    }

    fn fixed(encoder: *Encoder, info: u5, number: f64) Error!void {
        try encoder.out.append(encoder.allocator, 0xe0 | @as(u8, info));
        try encoder.big(@bitCast(number), 8);
    }

    fn big(encoder: *Encoder, number: u64, length: usize) Error!void {
        var bytes: [8]u8 = undefined;
        std.mem.writeInt(u64, &bytes, number, .big);
        try encoder.out.appendSlice(encoder.allocator, bytes[8 - length ..]);
    }
};
