;; attack: the guest ends itself with a code that WASI's own host takes for a trap
;; when: message
;; ends: exit
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (call $exit (i32.const 200)))
)
