;; attack: the guest reads past the end of its memory
;; when: message
;; ends: out-of-bounds
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (i64.load offset=4294967295 (i32.const -1))))
)
