;; attack: results depend on the machine
;; when: upload
;; ends: rejected
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0))))
)
