//! Counts primes the naive way: tries every smaller divisor until one divides.
//!
//! A message is the CBOR pair `[from, to]`, or a line of text with a number `n`, which means `[n, n + 1000]`; the
//! answer is the CBOR map `{from, to, count, largest}` for the primes `p` with `from <= p < to`.

const std = @import("std");
const grid = @import("grid");

pub const std_options = grid.std_options;
pub const panic = grid.panic;

/// Numbers looked at in one turn.
const slice = 100;

/// Numbers in the range that a line of text stands for.
const line = 1000;

/// What is known so far about the range at hand.
const Found = struct { from: u32, to: u32, count: u32 = 0, largest: ?u32 = null };

const Primes = struct {
    found: ?Found = null,
    next: u32 = 0,

    pub fn handle(primes: *Primes, arena: std.mem.Allocator, message: []const u8) void {
        const from, const to = range(arena, message) catch
            return grid.fail("expected the CBOR pair [from, to] or a number as text");
        primes.* = .{ .found = .{ .from = from, .to = to }, .next = from };
    }

    pub fn loop(primes: *Primes) !grid.Turn {
        const found = if (primes.found) |*found| found else return .idle;
        const end = @min(found.to, primes.next +| slice);
        while (primes.next < end) : (primes.next += 1) {
            if (!isPrime(primes.next)) continue;
            found.count += 1;
            found.largest = primes.next;
        }
        if (primes.next < found.to) return .again;
        defer primes.found = null;
        try grid.sendCbor(found.*);
        return .idle;
    }
};

/// The range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms never meet.
fn range(arena: std.mem.Allocator, message: []const u8) ![2]u32 {
    const text = std.mem.trim(u8, message, &std.ascii.whitespace);
    if (std.fmt.parseInt(u32, text, 10)) |first| {
        return .{ first, first +| line };
    } else |_| {
        return grid.cbor.decode([2]u32, arena, message);
    }
}

fn isPrime(number: u32) bool {
    var divisor: u32 = 2;
    while (divisor < number) : (divisor += 1) {
        if (number % divisor == 0) return false;
    }
    return number >= 2;
}

comptime {
    grid.exportWorker(Primes);
}
