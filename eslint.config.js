// @ts-check
/** Type-aware lint. Rules that a formatter or the compiler already decides are off. */
import tseslint from 'typescript-eslint';

/** @param {string} selector @param {string} message */
const ban = (selector, message) => ({ selector, message });

const SYNTAX = [
  ban('Decorator', 'Node strips types only: it does not parse decorators.'),
  ban('AccessorProperty', 'Node strips types only: it does not parse accessor.'),
  ban(
    ':matches(PropertyDefinition, MethodDefinition[kind!="constructor"])[accessibility]',
    'Use #fields: private and protected are erased.',
  ),
  ban('TSParameterProperty', 'Parameter properties are not erasable.'),
  ban('ExportAllDeclaration', 'No barrels: import the file that defines.'),
  ban('ExportDefaultDeclaration', 'Named exports only.'),
];
const KEY_BYTES = ban(
  'CallExpression[callee.property.name="expose"]',
  'Key bytes are read in src/crypto and src/keys/providers only.',
);

/** A default import would let the others through; a namespace import counts as every name. */
const CIPHERS = {
  name: 'node:crypto',
  importNames: [
    ...['createCipheriv', 'createDecipheriv', 'hkdf', 'hkdfSync', 'createHmac'],
    ...['default', 'webcrypto', 'subtle'],
  ],
  message: 'Ciphers, HKDF and HMAC belong to src/crypto.',
};
const BARE_NODE = {
  regex:
    '^(assert|buffer|child_process|cluster|crypto|dgram|dns|events|fs|http|http2|https|module|net|os|path|perf_hooks|process|punycode|readline|stream|string_decoder|timers|tls|tty|url|util|v8|vm|worker_threads|zlib)(/.+)?$',
  message: 'Built-in modules are imported with node:.',
};

export default tseslint.config(
  { ignores: ['node_modules/', 'data/', 'coverage/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { allowDefaultCaseForExhaustiveSwitch: true, considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/explicit-member-accessibility': ['error', { accessibility: 'no-public' }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: false }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreUsingDeclarations: true },
      ],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: 'always' }],
      '@typescript-eslint/prefer-readonly': 'error',
      // Promise.withResolvers<void>() is what it says.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // Types here are aliases or interfaces, as reads best; the compiler checks unused names.
      '@typescript-eslint/consistent-type-definitions': 'off',
      // One generic parameter that is used once still names the shape for the caller.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Implementations of a port may be async without waiting themselves.
      '@typescript-eslint/require-await': 'off',
      'max-params': ['error', 4],
      'no-restricted-imports': ['error', { patterns: [BARE_NODE] }],
      'no-restricted-syntax': ['error', ...SYNTAX],
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-eval': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-imports': ['error', { paths: [CIPHERS], patterns: [BARE_NODE] }],
      'no-restricted-syntax': ['error', ...SYNTAX, KEY_BYTES],
    },
  },
  {
    files: ['src/crypto/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [BARE_NODE] }],
      'no-restricted-syntax': ['error', ...SYNTAX],
    },
  },
  { files: ['src/keys/providers/**/*.ts'], rules: { 'no-restricted-syntax': ['error', ...SYNTAX] } },
  {
    // Pseudonyms of addresses, under a key of the process: no content, no stored value.
    files: ['src/observe/redact.ts'],
    rules: { 'no-restricted-imports': ['error', { patterns: [BARE_NODE] }] },
  },
  { files: ['src/main.ts', 'src/admin/cli.ts', 'src/admin/cli/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**/*.ts', 'scripts/**/*.ts', '*.config.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Matchers and parsed JSON are any.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-misused-spread': 'off', // texts here are ASCII, taken apart on purpose
      '@typescript-eslint/unbound-method': 'off',
      'max-params': 'off',
    },
  },
  { files: ['*.config.ts'], rules: { 'no-restricted-syntax': 'off' } },
);
