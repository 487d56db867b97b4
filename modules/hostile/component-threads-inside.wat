;; attack: a module inside of a component shares its memory between threads
;; when: upload
;; ends: rejected
(component
  (core module (memory 1 1 shared)))
