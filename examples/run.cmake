# Runs an example in a fresh directory.
file(REMOVE_RECURSE "${DIRECTORY}")
file(MAKE_DIRECTORY "${DIRECTORY}")
execute_process(COMMAND "${PROGRAM}" "${DIRECTORY}" RESULT_VARIABLE result)
file(REMOVE_RECURSE "${DIRECTORY}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the example ended with ${result}")
endif()
