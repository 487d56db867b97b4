//! Grid calls, as the host takes them.

const std = @import("std");
const grid = @import("grid.zig");

const imports = struct {
    extern "grid" fn recv(pointer: [*]u8, capacity: usize) i32;
    extern "grid" fn send(pointer: [*]const u8, length: usize) void;
    extern "grid" fn log(level: i32, pointer: [*]const u8, length: usize) void;
    extern "grid" fn fail(pointer: [*]const u8, length: usize) void;
    extern "wasi_snapshot_preview1" fn fd_write(stream: u32, parts: [*]const Part, count: usize, written: *usize) u16;
};

const Part = extern struct { pointer: [*]const u8, length: usize };

/// Where a slice is. Zig gives empty ones addresses beyond memory, which would end the worker.
fn address(slice: []const u8) [*]const u8 {
    return if (slice.len == 0) "" else slice.ptr;
}

pub fn recv(buffer: []u8) void {
    // With no bytes there is nothing to copy, only to take.
    var nothing: [1]u8 = undefined;
    _ = imports.recv(if (buffer.len == 0) &nothing else buffer.ptr, buffer.len);
}

pub fn send(message: []const u8) void {
    imports.send(address(message), message.len);
}

pub fn log(level: grid.Level, line: []const u8) void {
    imports.log(@backingInt(level), address(line), line.len);
}

pub fn fail(reason: []const u8) void {
    imports.fail(address(reason), reason.len);
}

pub fn print(stream: u32, text: []const u8) void {
    var rest = text;
    while (rest.len > 0) {
        var written: usize = 0;
        const part: Part = .{ .pointer = rest.ptr, .length = rest.len };
        if (imports.fd_write(stream, &.{part}, 1, &written) != 0 or written == 0) return;
        rest = rest[@min(written, rest.len)..];
    }
}
