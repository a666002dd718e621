from dpo_book.cli import interrupt

if __name__ == "__main__":
    interrupt.listen()

    from dpo_book.cli.app import main

    main()
