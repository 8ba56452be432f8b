# Compiles models into an application: find_package(edgekit), then
#
#   edgekit_add_model(NAME
#     MODEL model.keras            # also .h5, a SavedModel, .onnx or .tflite
#     TARGET cortex-m7             # a name of `edgekit profiles list`, or a TOML file
#     [EMIT c|c-array]             # c (the default) needs no runtime; c-array is C++ (enable CXX)
#                                  # for TensorFlow Lite Micro
#     [RECIPE channels50-int8]     # a name of `edgekit recipes list`, or a TOML file
#     [DATA data.npz]              # for calibration and training
#     [PRECISION int8] [PREPROCESS unit] [METRIC top1] [TEACHER model] [LOSS file.py:function]
#     [AUGMENT file.py:function] [EPOCHS 10] [MAX_DROP 1%])
#
# makes NAME a static library of the model, with its header on the include path. The model is made
# while the application is built, and again only where something that it was made from has changed.
# Properties of NAME: EDGEKIT_HEADER, EDGEKIT_MANIFEST, and EDGEKIT_MAIN, a program that checks the
# library against golden vectors:
#
#   get_target_property(main NAME EDGEKIT_MAIN)
#   add_executable(check ${main})
#   target_link_libraries(check PRIVATE NAME)
#
# EDGEKIT_COMMAND names another edgekit than the one on the PATH; it may be a list, such as
# python3;-m;edgekit.

include_guard(GLOBAL)

if(CMAKE_VERSION VERSION_LESS 3.21)
  set(edgekit_FOUND FALSE)
  set(edgekit_NOT_FOUND_MESSAGE "edgekit needs CMake 3.21 or later, this is ${CMAKE_VERSION}")
  return()
endif()

find_program(EDGEKIT_COMMAND edgekit DOC "The command line of edgekit")
if(NOT EDGEKIT_COMMAND)
  set(edgekit_FOUND FALSE)
  set(edgekit_NOT_FOUND_MESSAGE
      "the command edgekit is not on the PATH: activate its environment, or set EDGEKIT_COMMAND")
  return()
endif()

# What a TOML string may hold: quotes and backslashes escaped, no line breaks.
function(_edgekit_toml result text)
  if(text MATCHES "[\r\n]")
    message(FATAL_ERROR "edgekit_add_model: '${text}' has a line break")
  endif()
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  set(${result} "\"${text}\"" PARENT_SCOPE)
endfunction()

# Paths are relative to the source directory, as in add_library; file.py:function is one too.
function(_edgekit_located result text)
  if(NOT IS_ABSOLUTE "${text}")
    set(text "${CMAKE_CURRENT_SOURCE_DIR}/${text}")
  endif()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# What edgekit takes for a name stays one, whatever stands in the source directory.
function(_edgekit_located_if result text pattern)
  if(text MATCHES "${pattern}")
    _edgekit_located(text "${text}")
  endif()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# The edgekit.toml of one model, written only where it says something else than before.
function(_edgekit_write_file file name)
  set(model "[model.${name}]\n")
  set(build "[[build]]\nmodel = \"${name}\"\n")
  foreach(key MODEL DATA TEACHER LOSS AUGMENT PREPROCESS METRIC)
    if(DEFINED ARG_${key})
      set(value "${ARG_${key}}")
      if(key STREQUAL "METRIC")
        _edgekit_located_if(value "${value}" "[.]py:[^:]+$")
      elseif(NOT key STREQUAL "PREPROCESS")
        _edgekit_located(value "${value}")
      endif()
      _edgekit_toml(value "${value}")
      string(TOLOWER ${key} lower)
      string(REGEX REPLACE "^model$" "path" lower "${lower}")
      string(APPEND model "${lower} = ${value}\n")
    endif()
  endforeach()
  foreach(key TARGET RECIPE EMIT PRECISION MAX_DROP)
    if(DEFINED ARG_${key})
      set(value "${ARG_${key}}")
      if(key MATCHES "TARGET|RECIPE")
        _edgekit_located_if(value "${value}" "[.]toml$|/")
      endif()
      _edgekit_toml(value "${value}")
      string(TOLOWER ${key} lower)
      string(APPEND build "${lower} = ${value}\n")
    endif()
  endforeach()
  if(DEFINED ARG_EPOCHS)
    string(APPEND build "epochs = ${ARG_EPOCHS}\n")
  endif()
  file(CONFIGURE OUTPUT "${file}" CONTENT "@model@\n@build@" @ONLY)
endfunction()

# What edgekit would write, in the order of its depfile: paths below the file's own directory.
function(_edgekit_outputs result name file)
  execute_process(
    COMMAND ${EDGEKIT_COMMAND} run "${file}" --dry-run --json -q
    OUTPUT_VARIABLE plan
    ERROR_VARIABLE errors
    RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    string(STRIP "${errors}" errors)
    message(FATAL_ERROR "edgekit_add_model(${name}): ${errors}")
  endif()
  get_filename_component(directory "${file}" DIRECTORY)
  set(found "")
  string(JSON stages LENGTH "${plan}" stages)
  math(EXPR last_stage "${stages} - 1")
  foreach(stage RANGE ${last_stage})
    string(JSON outputs LENGTH "${plan}" stages ${stage} outputs)
    math(EXPR last_output "${outputs} - 1")
    foreach(output RANGE ${last_output})
      string(JSON path GET "${plan}" stages ${stage} outputs ${output})
      list(APPEND found "${directory}/${path}")
    endforeach()
  endforeach()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

function(edgekit_add_model name)
  set(single MODEL TARGET RECIPE PRECISION EMIT DATA PREPROCESS METRIC TEACHER LOSS AUGMENT EPOCHS
             MAX_DROP)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "${single}" "")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "edgekit_add_model(${name}): unknown argument ${ARG_UNPARSED_ARGUMENTS}; "
                        "known are ${single}")
  endif()
  if(ARG_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "edgekit_add_model(${name}): no value after ${ARG_KEYWORDS_MISSING_VALUES}")
  endif()
  foreach(key MODEL TARGET)
    if(NOT DEFINED ARG_${key})
      message(FATAL_ERROR "edgekit_add_model(${name}): ${key} is missing")
    endif()
  endforeach()
  if(NOT name MATCHES "^[A-Za-z][A-Za-z0-9_]*$")
    message(FATAL_ERROR "edgekit_add_model(${name}): the name has to be a C identifier")
  endif()
  if(DEFINED ARG_EPOCHS AND NOT ARG_EPOCHS MATCHES "^[0-9]+$")
    message(FATAL_ERROR "edgekit_add_model(${name}): EPOCHS ${ARG_EPOCHS} is not a whole number")
  endif()
  if(NOT DEFINED ARG_EMIT)
    set(ARG_EMIT c)
  endif()
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  if(ARG_EMIT STREQUAL "c-array" AND NOT "CXX" IN_LIST languages)
    message(FATAL_ERROR "edgekit_add_model(${name}): EMIT c-array is C++; write project(… C CXX)")
  endif()

  set(directory "${CMAKE_CURRENT_BINARY_DIR}/edgekit/${name}")
  set(file "${directory}/edgekit.toml")
  _edgekit_write_file("${file}" ${name})
  _edgekit_outputs(outputs ${name} "${file}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")

  # edgekit leaves alone what is up to date, and make would find it too old again each time.
  set(touch "")
  if(CMAKE_GENERATOR MATCHES "Makefiles")
    set(touch COMMAND ${CMAKE_COMMAND} -E touch ${outputs})
  endif()
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND ${EDGEKIT_COMMAND} run "${file}" --depfile "${directory}/edgekit.d" -q
    ${touch}
    DEPENDS "${file}"
    DEPFILE "${directory}/edgekit.d"
    COMMENT "Making the model ${name} for ${ARG_TARGET}"
    VERBATIM)

  set(sources ${outputs})
  list(FILTER sources INCLUDE REGEX "[.](c|cc)$")
  set(main ${sources})
  list(FILTER main INCLUDE REGEX "_main[.](c|cc)$")
  list(FILTER sources EXCLUDE REGEX "_main[.](c|cc)$")
  set(header ${outputs})
  list(FILTER header INCLUDE REGEX "/${name}[^/]*[.]h$")
  list(FILTER header EXCLUDE REGEX "_(golden|resolver)[.]h$")
  get_filename_component(include "${header}" DIRECTORY)

  # Whatever else is made with it, such as the program, waits for the library.
  add_custom_target(${name}_edgekit DEPENDS ${outputs})
  add_library(${name} STATIC ${sources} ${header})
  add_dependencies(${name} ${name}_edgekit)
  target_include_directories(${name} PUBLIC "${include}")
  set_target_properties(
    ${name}
    PROPERTIES EDGEKIT_HEADER "${header}"
               EDGEKIT_MANIFEST "${header}.edgekit.json"
               EDGEKIT_MAIN "${main}")
endfunction()
