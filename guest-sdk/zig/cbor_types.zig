//! CBOR values as Zig's types, and back, by what the types look like at compile time.

const std = @import("std");
const cbor = @import("cbor.zig");
const Allocator = std.mem.Allocator;
const Value = cbor.Value;

/// A value does not fit the type that was asked for.
pub const Error = error{ UnexpectedCborType, CborNumberOutOfRange, CborMapLacksKey, OutOfMemory };

/// The value as a `T`.
pub fn fromValue(comptime T: type, allocator: Allocator, value: Value) Error!T {
    if (T == Value) return value;
    switch (@typeInfo(T)) {
        .bool => return if (value == .bool) value.bool else error.UnexpectedCborType,
        .int => {
            if (value != .int) return error.UnexpectedCborType;
            return std.math.cast(T, value.int) orelse error.CborNumberOutOfRange;
        },
        .float => return switch (value) {
            .float => |number| @floatCast(number),
            .int => |number| @floatFromInt(number),
            else => error.UnexpectedCborType,
        },
        .optional => |optional| {
            return if (value == .null) null else try fromValue(optional.child, allocator, value);
        },
        .array => |array| {
            if (value != .list or value.list.len != array.len) return error.UnexpectedCborType;
            var items: T = undefined;
            for (&items, value.list) |*item, from| item.* = try fromValue(array.child, allocator, from);
            return items;
        },
        .pointer => |pointer| {
            if (pointer.size != .slice) @compileError("no CBOR is a " ++ @typeName(T));
            if (pointer.child == u8 and pointer.attrs.@"const") return switch (value) {
                .text, .bytes => |string| string,
                else => error.UnexpectedCborType,
            };
            if (value != .list) return error.UnexpectedCborType;
            const items = try allocator.alloc(pointer.child, value.list.len);
            for (items, value.list) |*item, from| item.* = try fromValue(pointer.child, allocator, from);
            return items;
        },
        .@"struct" => |structure| {
            var result: T = undefined;
            if (structure.is_tuple) {
                if (value != .list or value.list.len != structure.field_names.len) return error.UnexpectedCborType;
                inline for (structure.field_types, 0..) |Field, index| {
                    result[index] = try fromValue(Field, allocator, value.list[index]);
                }
                return result;
            }
            if (value != .map) return error.UnexpectedCborType;
            inline for (structure.field_names, structure.field_types, structure.field_attrs) |name, Field, attributes| {
                if (value.get(name)) |field| {
                    @field(result, name) = try fromValue(Field, allocator, field);
                } else if (attributes.defaultValue(Field)) |default| {
                    @field(result, name) = default;
                } else {
                    return error.CborMapLacksKey;
                }
            }
            return result;
        },
        else => @compileError("no CBOR is a " ++ @typeName(T)),
    }
}

/// An integer of any size: an ordinary one, or one of the tags 2 and 3.
pub fn bigInt(allocator: Allocator, value: Value) Error!std.math.big.int.Managed {
    if (value == .int) return .initSet(allocator, value.int);
    if (value != .tagged or (value.tagged.number != 2 and value.tagged.number != 3)) return error.UnexpectedCborType;
    const magnitude = value.tagged.content.bytes;
    var integer: std.math.big.int.Managed = try .init(allocator);
    errdefer integer.deinit();
    try integer.ensureCapacity(std.math.big.int.calcTwosCompLimbCount(magnitude.len * 8 + 1));
    var mutable = integer.toMutable();
    mutable.readTwosComplement(magnitude, magnitude.len * 8, .big, .unsigned);
    integer.setMetadata(mutable.positive, mutable.len);
    if (value.tagged.number == 3) {
        try integer.addScalar(&integer, 1);
        integer.negate();
    }
    return integer;
}

/// Encodes a value by its type.
pub fn encode(encoder: *cbor.Encoder, value: anytype, depth: usize) cbor.Error!void {
    const T = @TypeOf(value);
    if (T == Value) return encoder.any(value, depth);
    switch (@typeInfo(T)) {
        .bool => try encoder.bool(value),
        .int, .comptime_int => try encoder.int(value),
        .float, .comptime_float => try encoder.float(@floatCast(value)),
        .null => try encoder.null(),
        .optional => try if (value) |present| encode(encoder, present, depth) else encoder.null(),
        .@"enum", .enum_literal => try encoder.text(@tagName(value)),
        .array => try encodeList(encoder, &value, depth),
        .pointer => |pointer| switch (pointer.size) {
            .slice => if (pointer.child == u8) try encoder.text(value) else try encodeList(encoder, value, depth),
            .one => switch (@typeInfo(pointer.child)) {
                // A literal of text is a pointer to an array.
                .array => |array| try encode(encoder, @as([]const array.child, value), depth),
                else => try encode(encoder, value.*, depth),
            },
            else => @compileError("no CBOR encoding of a " ++ @typeName(T)),
        },
        .@"struct" => |structure| {
            if (structure.is_tuple) {
                try encoder.list(structure.field_names.len);
                inline for (0..structure.field_names.len) |index| try encode(encoder, value[index], depth + 1);
                return;
            }
            try encoder.map(structure.field_names.len);
            inline for (structure.field_names) |name| {
                try encoder.text(name);
                try encode(encoder, @field(value, name), depth + 1);
            }
        },
        else => @compileError("no CBOR encoding of a " ++ @typeName(T)),
    }
}

fn encodeList(encoder: *cbor.Encoder, items: anytype, depth: usize) cbor.Error!void {
    if (depth >= cbor.max_depth) return error.CborIsNestedTooDeep;
    try encoder.list(items.len);
    for (items) |item| try encode(encoder, item, depth + 1);
}
