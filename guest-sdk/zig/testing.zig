//! A stand-in for the host, so that a worker can be tested where it is written.
//!
//! On any target but WebAssembly, grid calls end up here: a test drives the worker and looks at what it did.

const std = @import("std");
const grid = @import("grid.zig");

/// What a worker did. It lives until the next `deliver`.
pub const Done = struct {
    /// What it sent, in order.
    sent: []const []const u8,
    /// Why it failed the message, if it did.
    failed: ?[]const u8,
    /// What it wrote to its log.
    logged: []const Line,
};

/// A line of a log.
pub const Line = struct { level: grid.Level, text: []const u8 };

var memory: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
var sent: std.ArrayList([]const u8) = .empty;
var logged: std.ArrayList(Line) = .empty;
var failed: ?[]const u8 = null;

/// Gives a worker a message and lets it take its turns, `most` at the most; what it did.
pub fn deliver(worker: anytype, message: []const u8, most: usize) !Done {
    _ = memory.reset(.free_all);
    sent = .empty;
    logged = .empty;
    failed = null;
    const Worker = std.meta.Child(@TypeOf(worker));
    @as(anyerror!void, worker.handle(memory.allocator(), message)) catch |err| grid.fail(@errorName(err));
    if (@hasDecl(Worker, "loop")) for (0..most) |_| {
        const turn = @as(anyerror!grid.Turn, worker.loop()) catch |err| {
            grid.fail(@errorName(err));
            break;
        };
        if (turn == .idle) break;
    };
    return .{ .sent = sent.items, .failed = failed, .logged = logged.items };
}

/// What calls of the grid do in a test.
pub const host = struct {
    pub fn send(message: []const u8) void {
        sent.append(memory.allocator(), keep(message)) catch @panic("out of memory");
    }

    pub fn log(level: grid.Level, line: []const u8) void {
        logged.append(memory.allocator(), .{ .level = level, .text = keep(line) }) catch @panic("out of memory");
    }

    pub fn fail(reason: []const u8) void {
        failed = keep(reason);
    }

    pub fn print(_: u32, text: []const u8) void {
        std.debug.print("{s}", .{text});
    }
};

fn keep(bytes: []const u8) []const u8 {
    return memory.allocator().dupe(u8, bytes) catch @panic("out of memory");
}
