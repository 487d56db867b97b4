;; attack: a function is called as what it is not
;; when: message
;; ends: trap
(module
  (memory (export "memory") 1)
  (type $t (func (param i64 f64)))
  (table 1 funcref)
  (func $f)
  (elem (i32.const 0) $f)
  (func (export "handle_msg") (param $len i32)
    (call_indirect (type $t) (i64.const 1) (f64.const 2) (i32.const 0)))
)
