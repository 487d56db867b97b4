//! Exports: what the host calls.

const std = @import("std");
const grid = @import("grid.zig");
const host = @import("host.zig");

/// Exports a worker: a struct whose fields have defaults, or that has an `init`. It has
///
///   - `pub fn handle(*Worker, std.mem.Allocator, []const u8) !void`: takes a message. What is sent from here and
///     from the turns after it is the answer. The message and all that was allocated with this allocator are freed
///     when the message is done;
///
/// and may have
///
///   - `pub fn init([]const u8) !Worker`: makes the worker from its spawn arguments, which stay where they are. An
///     error refuses them and ends it;
///   - `pub fn loop(*Worker) !grid.Turn`: does a slice of what is left to do. Called after each message, and again
///     for as long as it returns `.again`; the message is done at the first `.idle`;
///   - `pub fn stop(*Worker) void`: the last call, when the worker is stopped in good order.
///
/// The `!` may be left out. The name of an error that is returned is the reason that the client is told.
pub fn exportWorker(comptime Worker: type) void {
    const exports = Exports(Worker);
    @export(&exports.init, .{ .name = "init" });
    @export(&exports.handle, .{ .name = "handle_msg" });
    @export(&exports.loop, .{ .name = "loop" });
    @export(&exports.stop, .{ .name = "stop" });
}

/// What an arena keeps from one message to the next, so that small ones cost no allocation.
const kept_bytes = 64 << 10;

fn Exports(comptime Worker: type) type {
    return struct {
        var worker: ?Worker = null;
        var arena: std.heap.ArenaAllocator = .init(grid.allocator);

        fn init(length: usize) callconv(.c) void {
            const arguments = receive(grid.allocator, length) orelse return;
            worker = if (@hasDecl(Worker, "init")) make(arguments) else .{};
        }

        fn make(arguments: []const u8) ?Worker {
            const made = Worker.init(arguments);
            return if (@typeInfo(@TypeOf(made)) == .error_union) made catch |err| {
                grid.fail(@errorName(err));
                return null;
            } else made;
        }

        fn handle(length: usize) callconv(.c) void {
            clear();
            const message = receive(arena.allocator(), length) orelse return;
            if (worker) |*living| report(living.handle(arena.allocator(), message));
        }

        fn loop() callconv(.c) i32 {
            const turn = take();
            if (turn == .idle) clear();
            return @backingInt(turn);
        }

        fn take() grid.Turn {
            if (!@hasDecl(Worker, "loop")) return .idle;
            const living = if (worker) |*living| living else return .idle;
            const turn = living.loop();
            return if (@typeInfo(@TypeOf(turn)) == .error_union) turn catch |err| {
                grid.fail(@errorName(err));
                return .idle;
            } else turn;
        }

        fn stop() callconv(.c) void {
            if (!@hasDecl(Worker, "stop")) return;
            if (worker) |*living| living.stop();
        }

        fn clear() void {
            _ = arena.reset(.{ .retain_with_limit = kept_bytes });
        }
    };
}

/// What waits to be received, of which the host said that it has `length` bytes.
fn receive(allocator: std.mem.Allocator, length: usize) ?[]u8 {
    const message = allocator.alloc(u8, length) catch {
        grid.fail("not enough memory for the message");
        return null;
    };
    host.recv(message);
    return message;
}

fn report(result: anytype) void {
    if (@typeInfo(@TypeOf(result)) == .error_union) result catch |err| grid.fail(@errorName(err));
}
