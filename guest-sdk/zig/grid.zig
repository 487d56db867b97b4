//! Write a grid worker in Zig.
//!
//! A worker is a struct with a `handle`, and a line that exports it:
//!
//!     const std = @import("std");
//!     const grid = @import("grid");
//!
//!     pub const std_options = grid.std_options;
//!     pub const panic = grid.panic;
//!
//!     const Adder = struct {
//!         sum: i64 = 0,
//!
//!         pub fn handle(adder: *Adder, arena: std.mem.Allocator, message: []const u8) !void {
//!             adder.sum += try grid.cbor.decode(i32, arena, message);
//!             try grid.sendCbor(adder.sum);
//!         }
//!     };
//!
//!     comptime {
//!         grid.exportWorker(Adder);
//!     }
//!
//! `exportWorker` says what else the struct may have.

const std = @import("std");
const builtin = @import("builtin");
const host = if (builtin.target.cpu.arch.isWasm()) @import("host.zig") else testing.host;

pub const cbor = @import("cbor.zig");
pub const exportWorker = @import("export.zig").exportWorker;

/// A stand-in for the host, for tests on any target but WebAssembly.
pub const testing = @import("testing.zig");

/// Memory that the worker keeps. Where there is none left it is an `error.OutOfMemory`, which does not end the worker.
pub const allocator: std.mem.Allocator = if (builtin.target.cpu.arch.isWasm())
    std.heap.wasm_allocator
else
    std.heap.page_allocator;

/// What is left to do.
pub const Turn = enum(i32) {
    /// Nothing, until the next message.
    idle = 0,
    /// Something: call `loop` again.
    again = 1,
};

/// How grave a line of the log is.
pub const Level = enum(i32) { err = 0, warn = 1, info = 2, debug = 3, trace = 4 };

/// Sends a message to the client, waiting while too much of what was sent before is unread.
///
/// A message of more than 64 MiB ends the worker.
pub fn send(message: []const u8) void {
    host.send(message);
}

/// Sends a value as CBOR: any type that `cbor.encode` takes.
pub fn sendCbor(value: anytype) cbor.Error!void {
    const message = try cbor.encode(allocator, value);
    defer allocator.free(message);
    send(message);
}

/// Says that the message at hand could not be handled, and why; the worker goes on with the next one.
///
/// An error that `handle` or `loop` returns does the same, with the error's name as the reason.
pub fn fail(reason: []const u8) void {
    host.fail(reason);
}

/// Writes a line to the worker's log. `std.log` ends up here, too; `trace` is here only.
pub fn log(level: Level, line: []const u8) void {
    host.log(level, line);
}

/// Writes to standard output, which the grid logs line by line at info; to standard error at warn.
pub fn print(stream: enum(u32) { output = 1, failure = 2 }, text: []const u8) void {
    host.print(@backingInt(stream), text);
}

/// What a worker's main file makes its own, so that `std.log` writes to the grid's log.
pub const std_options: std.Options = .{ .log_level = .debug, .logFn = logFormatted };

/// What a worker's main file makes its own, so that a panic is logged as an error before it traps.
pub const panic = std.debug.FullPanic(logPanic);

/// The length that the host cuts lines to. They are made here, since the stack is small.
var formatted: [8 << 10]u8 = undefined;

fn logFormatted(
    comptime level: std.log.Level,
    comptime scope: @EnumLiteral(),
    comptime format: []const u8,
    arguments: anytype,
) void {
    const prefix = if (scope == .default) "" else @tagName(scope) ++ ": ";
    var writer: std.Io.Writer = .fixed(&formatted);
    // A line that is too long is cut.
    writer.print(prefix ++ format, arguments) catch {};
    log(@field(Level, @tagName(level)), writer.buffered());
}

fn logPanic(message: []const u8, _: ?usize) noreturn {
    @branchHint(.cold);
    log(.err, message);
    @trap();
}
