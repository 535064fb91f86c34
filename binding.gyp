{
  # No libssl and no libuv are linked: both come from the node binary that loads the addon.
  'target_defaults': {
    'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
    # The third: a thread-safe function may still be called while its environment goes. JavaScript cannot run then, which is no
    # exception that could be thrown, and without this it would end the process.
    'defines': [
      'NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED',
    ],
    'cflags': ['-fvisibility=hidden', '-Wall', '-Wextra', '-Wno-unused-parameter -Wno-missing-field-initializers', '-O3', '-g1'],
    'cflags_cc!': ['-std=gnu++17', '-fno-rtti'],
    'cflags_cc': ['-std=gnu++20', '-fno-exceptions'],
    'xcode_settings': {'CLANG_CXX_LANGUAGE_STANDARD': 'gnu++20', 'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES'},
  },
  'targets': [
    {
      'target_name': 'sealgate',
      'sources': [
        'src/native/address_limit.cc',
        'src/native/binding_addon.cc',
        'src/native/binding_load.cc',
        'src/native/binding_ocsp.cc',
        'src/native/binding_receiver.cc',
        'src/native/binding_terminator.cc',
        'src/native/client_authentication.cc',
        'src/native/connection.cc',
        'src/native/contexts.cc',
        'src/native/egress.cc',
        'src/native/listener.cc',
        'src/native/load_client.cc',
        'src/native/load_connection.cc',
        'src/native/load_context.cc',
        'src/native/loop_timer.cc',
        'src/native/network.cc',
        'src/native/ocsp.cc',
        'src/native/openssl_ptr.cc',
        'src/native/peer_certificate.cc',
        'src/native/poller.cc',
        'src/native/provider.cc',
        'src/native/proxy_header.cc',
        'src/native/registry.cc',
        'src/native/relay.cc',
        'src/native/scheduling.cc',
        'src/native/sign_operation.cc',
        'src/native/socket.cc',
        'src/native/staples.cc',
        'src/native/stats.cc',
        'src/native/terminator.cc',
        'src/native/ticket_keys.cc',
        'src/native/tls_bio.cc',
        'src/native/tls_stream.cc',
        'src/native/tls_thread.cc',
      ],
    },
    {
      'target_name': 'sign_load',
      # After `sealgate` in the alphabet: node-gyp-build takes the first in the folder.
      'sources': ['src/bench/native/binding.cc', 'src/bench/native/sign_load.cc'],
    },
  ],
}
