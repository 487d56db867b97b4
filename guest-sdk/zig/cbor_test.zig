//! Tests of the CBOR files: `zig test cbor_test.zig`.

const std = @import("std");
const cbor = @import("cbor.zig");
const Value = cbor.Value;
const testing = std.testing;

fn unhex(arena: std.mem.Allocator, text: []const u8) ![]u8 {
    const bytes = try arena.alloc(u8, text.len / 2);
    return std.fmt.hexToBytes(bytes, text);
}

fn hex(arena: std.mem.Allocator, bytes: []const u8) ![]u8 {
    return std.fmt.allocPrint(arena, "{x}", .{bytes});
}

test "values of the standard's appendix A in their shortest form go round unchanged" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    const arena = memory.allocator();
    for ([_][]const u8{
        "00",                 "17",                     "1818",                   "1903e8",             "1a000f4240",
        "1b7fffffffffffffff", "1bffffffffffffffff",     "20",                     "3903e7",             "3b7fffffffffffffff",
        "3bffffffffffffffff", "c249010000000000000000", "c349010000000000000000", "fbc010666666666666", "fb7ff0000000000000",
        "f4",                 "f5",                     "f6",                     "f7",                 "f0",
        "f8ff",               "c11a514b67b0",           "40",                     "4401020304",         "60",
        "62c3bc",             "80",                     "8301820203820405",       "a0",                 "a201020304",
        "a26161014162f5",     "a2616101820102f6",
    }) |text| {
        const message = try unhex(arena, text);
        const value = try cbor.decode(Value, arena, message);
        try testing.expectEqualStrings(text, try hex(arena, try cbor.encode(arena, value)));
    }
}

test "other forms are decoded" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    const arena = memory.allocator();
    for ([_][2][]const u8{
        .{ "5f42010243030405ff", "450102030405" },
        .{ "7f657374726561646d696e67ff", "6973747265616d696e67" },
        .{ "9f018202039f0405ffff", "8301820203820405" },
        .{ "bf61610161629f0203ffff", "a26161016162820203" },
        .{ "9fff", "80" },
        .{ "f93c00", "fb3ff0000000000000" },
        .{ "f90001", "fb3e70000000000000" },
        .{ "f9c400", "fbc010000000000000" },
        .{ "f9fc00", "fbfff0000000000000" },
        .{ "f97e00", "fb7ff8000000000000" },
        .{ "fa47c35000", "fb40f86a0000000000" },
        .{ "1b0000000000000001", "01" },
    }) |pair| {
        const value = try cbor.decode(Value, arena, try unhex(arena, pair[0]));
        try testing.expectEqualStrings(pair[1], try hex(arena, try cbor.encode(arena, value)));
    }
}

test "broken input is an error" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    const arena = memory.allocator();
    for ([_]struct { []const u8, anyerror }{
        .{ "", error.CborEndsTooEarly },
        .{ "18", error.CborEndsTooEarly },
        .{ "62c3", error.CborEndsTooEarly },
        .{ "62c328", error.CborTextIsNotUtf8 },
        .{ "8201", error.CborEndsTooEarly },
        .{ "9f01", error.CborEndsTooEarly },
        .{ "0000", error.CborHasBytesAfterIt },
        .{ "ff", error.CborIsMalformed },
        .{ "1c", error.CborIsMalformed },
        .{ "1f", error.CborIsMalformed },
        .{ "df00", error.CborIsMalformed },
        .{ "f818", error.CborIsMalformed },
        .{ "5f00ff", error.CborIsMalformed },
        .{ "5f5f4100ffff", error.CborIsMalformed },
        .{ "bf01ff", error.CborIsMalformed },
        .{ "c201", error.CborIsMalformed },
        .{ "5bffffffffffffffff", error.CborEndsTooEarly },
        .{ "7bffffffffffffffff", error.CborEndsTooEarly },
        .{ "9bffffffffffffffff", error.CborEndsTooEarly },
        .{ "bbffffffffffffffff", error.CborEndsTooEarly },
    }) |case| {
        const message = try unhex(arena, case[0]);
        try testing.expectError(case[1], cbor.decode(Value, arena, message));
    }
}

test "nesting goes 64 deep" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    const arena = memory.allocator();
    var lists: [66]u8 = @splat(0x81);
    lists[65] = 0;
    const value = try cbor.decode(Value, arena, lists[1..]);
    try testing.expectEqualSlices(u8, lists[1..], try cbor.encode(arena, value));
    try testing.expectError(error.CborIsNestedTooDeep, cbor.decode(Value, arena, &lists));
    const deeper: Value = .{ .list = &.{value} };
    try testing.expectError(error.CborIsNestedTooDeep, cbor.encode(arena, deeper));
    const tags: [1 << 20]u8 = @splat(0xc1);
    try testing.expectError(error.CborIsNestedTooDeep, cbor.decode(Value, arena, &tags));
}

test "no bytes make the decoder panic" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    var random: std.Random.DefaultPrng = .init(1);
    var bytes: [40]u8 = undefined;
    for (0..200_000) |_| {
        random.fill(&bytes);
        const message = bytes[0..random.random().uintAtMost(usize, bytes.len)];
        if (cbor.decode(Value, memory.allocator(), message)) |value| {
            _ = try cbor.encode(memory.allocator(), value);
        } else |_| {}
        _ = memory.reset(.retain_capacity);
    }
}

test "types go round" {
    var memory: std.heap.ArenaAllocator = .init(testing.allocator);
    defer memory.deinit();
    const arena = memory.allocator();
    const Inner = struct { name: []const u8, scale: f32 = 2 };
    const Outer = struct { a: u32, b: ?i8, c: []const Inner, d: [2]bool, e: struct { u8, f64 } };
    const value: Outer = .{
        .a = 4_000_000_000,
        .b = null,
        .c = &.{.{ .name = "x", .scale = 0.5 }},
        .d = .{ true, false },
        .e = .{ 7, 1.5 },
    };
    try testing.expectEqualDeep(value, try cbor.decode(Outer, arena, try cbor.encode(arena, value)));
    try testing.expectEqualDeep(Inner{ .name = "y" }, try cbor.decode(Inner, arena, try cbor.encode(arena, .{ .name = "y" })));
    try testing.expectError(error.CborMapLacksKey, cbor.decode(Inner, arena, "\xa0"));
    try testing.expectError(error.CborNumberOutOfRange, cbor.decode(u8, arena, "\x20"));
    try testing.expectError(error.UnexpectedCborType, cbor.decode(u8, arena, "\x60"));
    try testing.expectError(error.CborTextIsNotUtf8, cbor.encode(arena, "\xff"));
}

test "integers of any size" {
    for ([_][2][]const u8{
        .{ "20", "-1" },
        .{ "3bffffffffffffffff", "-18446744073709551616" },
        .{ "c249010000000000000000", "18446744073709551616" },
        .{ "c349010000000000000000", "-18446744073709551617" },
        .{ "c348ffffffffffffffff", "-18446744073709551616" },
        .{ "c240", "0" },
        .{ "c340", "-1" },
        .{ "c24a0000000000000000ffff", "65535" },
    }) |pair| {
        var memory: std.heap.ArenaAllocator = .init(testing.allocator);
        defer memory.deinit();
        const arena = memory.allocator();
        const value = try cbor.decode(Value, arena, try unhex(arena, pair[0]));
        const integer = try value.bigInt(arena);
        try testing.expectEqualStrings(pair[1], try integer.toString(arena, 10, .lower));
    }
}
