;; A worker whose tasks compute for as long as they say: eight bytes of number and eight of nanoseconds come in, and
;; the number's square goes out. No time at all means for ever; a number of all ones wants more memory than there is.
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (import "grid" "send" (func $send (param i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)

  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 64)))
    (i64.load (i32.const 64)))

  (func $spin
    (loop $for_ever (br $for_ever)))

  (func $want_everything
    (loop $more
      (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1))
        (then unreachable))
      (br $more)))

  (func $compute (param $nanoseconds i64)
    (local $until i64)
    (local $steps i32)
    (local.set $until (i64.add (call $now) (local.get $nanoseconds)))
    (loop $again
      (local.set $steps (i32.const 100000))
      (loop $step
        (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
        (br_if $step (local.get $steps)))
      (br_if $again (i64.lt_u (call $now) (local.get $until)))))

  (func (export "handle_msg") (param $len i32)
    (drop (call $recv (i32.const 0) (i32.const 16)))
    (if (i64.eq (i64.load (i32.const 0)) (i64.const -1)) (then (call $want_everything)))
    (if (i64.eqz (i64.load (i32.const 8))) (then (call $spin)))
    (call $compute (i64.load (i32.const 8)))
    (i64.store (i32.const 0) (i64.mul (i64.load (i32.const 0)) (i64.load (i32.const 0))))
    (call $send (i32.const 0) (i32.const 8)))
)
