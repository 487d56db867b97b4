;; attack: a module inside of a component has a function of megabytes
;; when: compile
;; ends: rejected
(component
  (core module
    (func (param i32) (result i32)
      (local.get 0)
      (i32.add (i32.const 77777)) ;; repeat 200000
    )))
