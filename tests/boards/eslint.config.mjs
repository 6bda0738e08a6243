// Rules for the script of the board's page; it runs in a browser, without modules or libraries.
//   npm install --no-save eslint@9 @eslint/js@9 globals
//   npx eslint --config tests/boards/eslint.config.mjs wsss_bench/boards/page/page.js
// The style has rules beside this file:
//   npx stylelint@16 --config tests/boards/stylelint.json wsss_bench/boards/page/page.css
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "script",
      globals: globals.browser,
    },
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Names reach the page as text only." },
        { property: "outerHTML", message: "Names reach the page as text only." },
      ],
    },
  },
];
