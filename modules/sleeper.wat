;; A worker whose tasks take as long as they say: eight bytes of number and eight of nanoseconds come in, and the
;; number's square goes out.
(module
  (import "grid" "recv" (func $recv (param i32 i32) (result i32)))
  (import "grid" "send" (func $send (param i32 i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)

  ;; 0: the task; 64: what to wait for, a time on the monotonic clock from now on; 128: what happened.
  (data (i32.const 80) "\01")

  (func (export "handle_msg") (param $len i32)
    (drop (call $recv (i32.const 0) (i32.const 16)))
    (i64.store (i32.const 88) (i64.load (i32.const 8)))
    (if (i32.ne (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)) (i32.const 0))
      (then unreachable))
    (i64.store (i32.const 0) (i64.mul (i64.load (i32.const 0)) (i64.load (i32.const 0))))
    (call $send (i32.const 0) (i32.const 8)))
)
